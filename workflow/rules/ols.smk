"""Ordinary least squares, by statsmodels from few rows and from moments otherwise.

moments/, data/ -> ols/parameters.csv, ols/diagnostics.json
"""


rule ols:
    input:
        unpack(moments),
        unpack(asked),
        unpack(rows),
        lib=lib("fit_ols"),
    output:
        parameters=ensure("results/{study}/ols/parameters.csv", non_empty=True),
        diagnostics="results/{study}/ols/diagnostics.json",
    log:
        "results/{study}/logs/ols.log",
    benchmark:
        "results/{study}/benchmarks/ols.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("ols"),
    message:
        "{wildcards.study}: OLS"
    script:
        "../scripts/fit_ols.py"
