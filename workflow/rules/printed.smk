"""The page on paper: report.html -> report.pdf, where it is asked for."""


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
