"""Self-contained pages, of each study and of all of them, and their verdicts for machines.

a study's artifacts    -> <study>/report.html, <study>/summary.json, as soon as its own stages are done; of one data
                          set <study>/tables/, the page's tables as files
all studies' artifacts -> report.html, summary.json
every engine's diagnostics -> verdict.txt, where a bad fit shall be an error
"""


rule study_report:
    input:
        unpack(shown),
        lib=lib("write_report"),
        templates=templates(),
    output:
        page="results/{study}/report.html",
        summary="results/{study}/summary.json",
        tables=directory("results/{study}/tables"),
    log:
        "results/{study}/logs/report.log",
    benchmark:
        "results/{study}/benchmarks/report.tsv"
    wildcard_constraints:
        study=those(lambda study: not study["recovery"]),
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=planned["report"] if len(reported()) == 1 else {},
        studies=lambda wildcards: {
            wildcards.study: studies[wildcards.study]["stages"]["report"]
        },
    message:
        "{wildcards.study}: report"
    script:
        "../scripts/write_report.py"


use rule study_report as replicated_report with:
    output:
        page="results/{study}/report.html",
        summary="results/{study}/summary.json",
    wildcard_constraints:
        study=those(lambda study: study["recovery"]),
    # not taken over from the rule that is used
    localrule: short()


PAGE_OF_ALL = {
    "page": report(
        "results/report.html",
        caption="../report/report.rst",
        category="Report",
        labels={"study": "all", "figure": "report"},
    ),
    "summary": "results/summary.json",
}

# The page of a single study is that of all studies: a copy needs no Python.
if len(reported()) == 1:

    rule report:
        input:
            unpack(all_studies),
        output:
            **PAGE_OF_ALL,
        log:
            "results/logs/report.log",
        benchmark:
            "results/benchmarks/report.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            mem_mb=growing(100),
            runtime=growing(2),
        message:
            "report of all studies"
        shell:
            "(cp {input.page} {output.page} && cp {input.summary} {output.summary}) > {log} 2>&1"

else:

    use rule study_report as report with:
        input:
            unpack(all_studies),
            lib=lib("write_report"),
            templates=templates(),
        output:
            **PAGE_OF_ALL,
        log:
            "results/logs/report.log",
        benchmark:
            "results/benchmarks/report.tsv"
        # not taken over from the rule that is used
        localrule: short()
        params:
            settings=planned["report"],
            studies={name: study["stages"]["report"] for name, study in studies.items()},
        message:
            "report of all studies"


rule verdict:
    input:
        unpack(judged),
        lib=lib("check_verdict"),
        page="results/report.html",
    output:
        verdict="results/verdict.txt",
    log:
        "results/logs/verdict.log",
    benchmark:
        "results/benchmarks/verdict.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(2),
    message:
        "verdict"
    script:
        "../scripts/check_verdict.py"
