"""Sufficient statistics by group, from which every engine but MixedLM fits, and the model matrices' columns.

data/data.json and data/data.parquet (or the user's files) -> moments/moments.parquet, .json, moments/design.json
"""


rule moments:
    input:
        unpack(rows),
        lib=lib("compute_moments"),
    output:
        table=ensure("results/{study}/moments/moments.parquet", non_empty=True),
        details="results/{study}/moments/moments.json",
        design="results/{study}/moments/design.json",
    log:
        "results/{study}/logs/moments.log",
    benchmark:
        "results/{study}/benchmarks/moments.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("moments"),
    message:
        "{wildcards.study}: moments"
    script:
        "../scripts/compute_moments.py"
