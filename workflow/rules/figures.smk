"""Every figure of a study's section in the report.

data/, every engine's tables, comparison/ -> figures/*.svg
recovery/ of a study with replicates      -> figures/*.svg
"""


rule figures:
    input:
        unpack(everything),
        lib=lib("draw_figures"),
    output:
        figures=report(
            directory("results/{study}/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="{study}",
            labels={"study": "{study}", "figure": "{name}"},
        ),
    log:
        "results/{study}/logs/figures.log",
    benchmark:
        "results/{study}/benchmarks/figures.tsv"
    wildcard_constraints:
        study=those(lambda study: not study["recovery"] and not study["search"]),
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=settings("figures"),
    message:
        "{wildcards.study}: figures"
    script:
        "../scripts/draw_figures.py"


rule recovery_figures:
    input:
        unpack(recovered),
        lib=lib("draw_recovery"),
    output:
        figures=report(
            directory("results/{study}/figures"),
            patterns=["{name}.svg"],
            caption="../report/recovery_figure.rst",
            category="{study}",
            labels={"study": "{study}", "figure": "{name}"},
        ),
    log:
        "results/{study}/logs/recovery_figures.log",
    benchmark:
        "results/{study}/benchmarks/recovery_figures.tsv"
    wildcard_constraints:
        study=those(lambda study: study["recovery"]),
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=settings("figures"),
    message:
        "{wildcards.study}: figures"
    script:
        "../scripts/draw_recovery.py"
