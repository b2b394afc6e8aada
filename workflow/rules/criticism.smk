"""Criticism of the Bayesian fit: cross-validation by group, predictive checks, sensitivity to the prior.

moments/, pymc/posterior.nc -> pymc/loo.parquet, predictive.csv, replicates.parquet, sensitivity.csv, criticism.json
"""


rule criticism:
    input:
        unpack(moments),
        posterior="results/{study}/pymc/posterior.nc",
        lib=lib("criticise_pymc"),
    output:
        loo="results/{study}/pymc/loo.parquet",
        predictive="results/{study}/pymc/predictive.csv",
        replicates="results/{study}/pymc/replicates.parquet",
        sensitivity="results/{study}/pymc/sensitivity.csv",
        about="results/{study}/pymc/criticism.json",
    log:
        "results/{study}/logs/criticism.log",
    benchmark:
        "results/{study}/benchmarks/criticism.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("criticism"),
    message:
        "{wildcards.study}: criticism of the Bayesian fit"
    script:
        "../scripts/criticise_pymc.py"
