"""The smallest design that reaches a target, and its figures.

settings (own data: moments/) -> search/search.csv, curve.csv, null.csv, answer.json -> figures/*.svg
One job: which replicates are drawn depends on those before, and a search takes seconds to minutes.
"""


rule search:
    input:
        unpack(searched_from),
        lib=searching,
    output:
        designs=ensure("results/{study}/search/search.csv", non_empty=True),
        curve="results/{study}/search/curve.csv",
        null="results/{study}/search/null.csv",
        answer=ensure("results/{study}/search/answer.json", non_empty=True),
    log:
        "results/{study}/logs/search.log",
    benchmark:
        "results/{study}/benchmarks/search.tsv"
    wildcard_constraints:
        study=those(lambda study: study["search"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        settings=settings("search"),
    message:
        "{wildcards.study}: search"
    script:
        "../scripts/run_search.py"


rule search_figures:
    input:
        unpack(searched),
        lib=lib("draw_search"),
    output:
        figures=report(
            directory("results/{study}/figures"),
            patterns=["{name}.svg"],
            caption="../report/search_figure.rst",
            category="{study}",
            labels={"study": "{study}", "figure": "{name}"},
        ),
    log:
        "results/{study}/logs/search_figures.log",
    benchmark:
        "results/{study}/benchmarks/search_figures.tsv"
    wildcard_constraints:
        study=those(lambda study: study["search"]),
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
        "../scripts/draw_search.py"
