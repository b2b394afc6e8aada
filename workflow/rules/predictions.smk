"""Fitted values with and without random effects, their errors and intervals; of new rows and groups too.

every mixed engine's tables, moments/, data/, the file that `predict` names -> predictions/predictions.parquet, .json
"""


rule predictions:
    input:
        unpack(moments),
        unpack(predicted),
        lib=lib("predict_rows"),
    output:
        table=ensure("results/{study}/predictions/predictions.parquet", non_empty=True),
        details="results/{study}/predictions/predictions.json",
    log:
        "results/{study}/logs/predictions.log",
    benchmark:
        "results/{study}/benchmarks/predictions.tsv"
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("predictions"),
    message:
        "{wildcards.study}: predictions"
    script:
        "../scripts/predict_rows.py"
