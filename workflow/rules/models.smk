"""Models of the same rows, compared: information criteria, likelihood-ratio tests, parametric bootstrap.

data/ -> models/moments.parquet, .json, design.json, with the columns of all models
models/moments.* -> models/models.csv, tests.csv, models.json
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
        study=those(lambda study: study["models"]),
    params:
        settings=settings("model_moments"),
    message:
        "{wildcards.study}: moments with the columns of all models"


rule models:
    input:
        data="results/{study}/data/data.json",
        moments="results/{study}/models/moments.parquet",
        moments_details="results/{study}/models/moments.json",
        design="results/{study}/models/design.json",
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
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        settings=settings("models"),
    message:
        "{wildcards.study}: comparison of models"
    script:
        "../scripts/compare_models.py"
