"""The posterior of the marginal model by PyMC and nutpie, from moments; gates and one automatic refit.

moments/ (and the rows, for `model: full`) -> pymc/parameters.csv, ranef.parquet, diagnostics.json, posterior.nc
"""


rule pymc:
    input:
        unpack(moments),
        unpack(asked),
        unpack(rows_of_full_model),
        lib=lib("fit_pymc"),
    output:
        parameters=ensure("results/{study}/pymc/parameters.csv", non_empty=True),
        ranef="results/{study}/pymc/ranef.parquet",
        diagnostics="results/{study}/pymc/diagnostics.json",
        posterior=ensure("results/{study}/pymc/posterior.nc", non_empty=True),
    log:
        "results/{study}/logs/pymc.log",
    benchmark:
        "results/{study}/benchmarks/pymc.tsv"
    priority: 3
    conda:
        "../../environment.yml"
    threads: lambda wildcards: studies[wildcards.study]["chains_at_a_time"]
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=settings("pymc"),
    message:
        "{wildcards.study}: PyMC"
    script:
        "../scripts/fit_pymc.py"
