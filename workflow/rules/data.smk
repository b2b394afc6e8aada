"""Rows to analyse, in source order.

settings under `simulate` -> data/data.parquet, data/data.json, data/truth.json
the user's files          -> data/data.parquet, data/data.json (data.json alone where the files are large)
"""


rule simulate:
    input:
        lib=lib("simulate_data"),
    output:
        rows=ensure("results/{study}/data/data.parquet", non_empty=True),
        details="results/{study}/data/data.json",
        truth="results/{study}/data/truth.json",
    log:
        "results/{study}/logs/simulate.log",
    benchmark:
        "results/{study}/benchmarks/simulate.tsv"
    wildcard_constraints:
        study=those(lambda study: study["simulated"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("simulate"),
    message:
        "{wildcards.study}: simulating data"
    script:
        "../scripts/simulate_data.py"


rule ingest:
    input:
        lib=lib("ingest_data"),
        sources=sources,
    output:
        rows=ensure("results/{study}/data/data.parquet", non_empty=True),
        details="results/{study}/data/data.json",
    log:
        "results/{study}/logs/ingest.log",
    benchmark:
        "results/{study}/benchmarks/ingest.tsv"
    wildcard_constraints:
        study=those(lambda study: study["files"] and study["copied"]),
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("ingest"),
    message:
        "{wildcards.study}: checking and copying rows"
    script:
        "../scripts/ingest_data.py"


use rule ingest as ingest_large with:
    output:
        details="results/{study}/data/data.json",
    wildcard_constraints:
        study=those(lambda study: study["files"] and not study["copied"]),
    message:
        "{wildcards.study}: checking rows"
