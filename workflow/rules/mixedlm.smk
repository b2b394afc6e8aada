"""statsmodels' MixedLM on the rows, started at reml's optimum (computed on the way where reml is not an engine).

data/, moments/, reml/ -> mixedlm/parameters.csv, ranef.parquet, coef.parquet, diagnostics.json
"""


rule mixedlm:
    input:
        unpack(moments),
        unpack(asked),
        unpack(rows),
        unpack(optimum),
        lib=lib("fit_mixedlm"),
    output:
        parameters=ensure("results/{study}/mixedlm/parameters.csv", non_empty=True),
        ranef="results/{study}/mixedlm/ranef.parquet",
        coef="results/{study}/mixedlm/coef.parquet",
        diagnostics="results/{study}/mixedlm/diagnostics.json",
    log:
        "results/{study}/logs/mixedlm.log",
    benchmark:
        "results/{study}/benchmarks/mixedlm.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=settings("mixedlm"),
    message:
        "{wildcards.study}: MixedLM"
    script:
        "../scripts/fit_mixedlm.py"
