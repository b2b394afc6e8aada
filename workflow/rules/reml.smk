"""REML's exact optimum, from moments, with profile-likelihood intervals.

moments/ -> reml/parameters.csv, reml/tests.csv, reml/ranef.parquet, reml/diagnostics.json
"""


rule reml:
    input:
        unpack(moments),
        unpack(asked),
        lib=lib("fit_reml"),
    output:
        parameters=ensure("results/{study}/reml/parameters.csv", non_empty=True),
        tests=ensure("results/{study}/reml/tests.csv", non_empty=True),
        ranef="results/{study}/reml/ranef.parquet",
        diagnostics="results/{study}/reml/diagnostics.json",
    log:
        "results/{study}/logs/reml.log",
    benchmark:
        "results/{study}/benchmarks/reml.tsv"
    priority: 2
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("reml"),
    message:
        "{wildcards.study}: REML from moments"
    script:
        "../scripts/fit_reml.py"
