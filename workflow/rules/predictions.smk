"""Fitted values with and without random effects, their errors and intervals; of new rows and groups too.

the file that `predict` names, data/ -> predictions/new_rows.parquet
every mixed engine's tables, moments/, data/, new_rows.parquet -> predictions/predictions.parquet, .json
"""


rule new_rows:
    input:
        unpack(rows),
        predict=lambda wildcards: local(studies[wildcards.study]["predict"]),
        lib=lib("check_new_rows"),
    output:
        rows="results/{study}/predictions/new_rows.parquet",
    log:
        "results/{study}/logs/new_rows.log",
    benchmark:
        "results/{study}/benchmarks/new_rows.tsv"
    wildcard_constraints:
        study=those(lambda study: study["predict"]),
    # First, and with all cores: a file that cannot be used ends the run before any fit. No fit has it as an input,
    # or another file would be another fit. Beside Snakemake, for a cluster has no 1000 cores in one place.
    priority: 100
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1000
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("new_rows"),
    message:
        "{wildcards.study}: checking rows to predict"
    script:
        "../scripts/check_new_rows.py"


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
