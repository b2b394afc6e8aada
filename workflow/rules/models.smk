"""Models of the same rows, compared: information criteria, likelihood-ratio tests, parametric bootstrap.

data/ -> models/moments.parquet, .json, design.json, with the columns of all models
models/moments.* -> models/models.csv, tests.csv, models.json; with PyMC among the engines each model is sampled
"""


use rule moments as model_moments with:
    output:
        table=ensure("results/{study}/models/moments.parquet", non_empty=True),
        details="results/{study}/models/moments.json",
        design="results/{study}/models/design.json",
    log:
        "results/{study}/logs/model_moments.log",
    benchmark:
        "results/{study}/benchmarks/model_moments.tsv"
    wildcard_constraints:
        study=those(lambda study: study["models"] == "one"),
    params:
        settings=settings("model_moments"),
    message:
        "{wildcards.study}: moments with the columns of all models"


use rule model_moments as model_moments_several with:
    output:
        table=ensure("results/{study}/models/moments.parquet", non_empty=True),
        cells=ensure("results/{study}/models/cells.parquet", non_empty=True),
        details="results/{study}/models/moments.json",
        design="results/{study}/models/design.json",
    wildcard_constraints:
        study=those(lambda study: study["models"] == "several"),


rule models:
    input:
        unpack(model_moments),
        lib=lib("compare_models"),
    output:
        models=ensure("results/{study}/models/models.csv", non_empty=True),
        tests=ensure("results/{study}/models/tests.csv", non_empty=True),
        details="results/{study}/models/models.json",
    log:
        "results/{study}/logs/models.log",
    benchmark:
        "results/{study}/benchmarks/models.tsv"
    conda:
        "../../environment.yml"
    threads: lambda wildcards: studies[wildcards.study]["chains_at_a_time"]
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=settings("models"),
    message:
        "{wildcards.study}: comparison of models"
    script:
        "../scripts/compare_models.py"
