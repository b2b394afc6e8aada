"""Criticism of the Bayesian fit: cross-validation by group, predictive checks, sensitivity to the prior.

moments/, pymc/posterior.nc (several grouping factors or weights: and the rows) -> pymc/loo.parquet, predictive.csv, replicates.parquet, sensitivity.csv, criticism.json
"""


rule criticism:
    input:
        unpack(criticised),
        posterior=f"results/{{study}}/{BAYES}/posterior.nc",
        lib=lib("criticise_posterior"),
    output:
        loo=f"results/{{study}}/{BAYES}/loo.parquet",
        predictive=f"results/{{study}}/{BAYES}/predictive.csv",
        replicates=f"results/{{study}}/{BAYES}/replicates.parquet",
        sensitivity=f"results/{{study}}/{BAYES}/sensitivity.csv",
        about=f"results/{{study}}/{BAYES}/criticism.json",
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
        "../scripts/criticise_posterior.py"
