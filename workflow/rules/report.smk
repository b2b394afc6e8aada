"""One self-contained page on all studies, and its verdicts for machines.

every study's artifacts -> report.html, summary.json
every engine's diagnostics -> verdict.txt, where a bad fit shall be an error
report.html -> report.pdf, where it is asked for
"""


rule report:
    input:
        unpack(all_studies),
        lib=lib("write_report"),
        templates=templates(),
    output:
        page=report(
            "results/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"study": "all", "figure": "report"},
        ),
        summary="results/summary.json",
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=planned["report"],
        studies={name: study["stages"]["report"] for name, study in studies.items()},
    message:
        "report"
    script:
        "../scripts/write_report.py"


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


rule pdf:
    input:
        lib=lib("print_report"),
        page="results/report.html",
    output:
        pdf="results/report.pdf",
    log:
        "results/logs/pdf.log",
    benchmark:
        "results/benchmarks/pdf.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    message:
        "report.pdf"
    script:
        "../scripts/print_report.py"
