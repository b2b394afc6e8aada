"""Sufficient statistics by group, from which every engine but MixedLM fits, and the model matrices' columns.

data/data.json and data/data.parquet (or the user's files) -> moments/moments.parquet, .json, moments/design.json
many large files: a job for each part of them -> moments/part-<k>.parquet, .json -> the same, merged
several grouping factors: also moments/cells.parquet, the cross-products of the levels of two factors that meet
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
    wildcard_constraints:
        study=those(lambda study: not study["parts"] and not study["several"]),
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


use rule moments as moments_several with:
    output:
        table=ensure("results/{study}/moments/moments.parquet", non_empty=True),
        cells=ensure("results/{study}/moments/cells.parquet", non_empty=True),
        details="results/{study}/moments/moments.json",
        design="results/{study}/moments/design.json",
    wildcard_constraints:
        study=those(lambda study: not study["parts"] and study["several"]),


rule moments_part:
    input:
        unpack(rows),
        lib=lib("compute_moments"),
    output:
        table=temp("results/{study}/moments/part-{part}.parquet"),
        details=temp("results/{study}/moments/part-{part}.json"),
    log:
        "results/{study}/logs/moments-{part}.log",
    benchmark:
        "results/{study}/benchmarks/moments-{part}.tsv"
    wildcard_constraints:
        study=those(lambda study: study["parts"] and not study["several"]),
        part=r"\d+",
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("moments"),
        files=part_files,
    message:
        "{wildcards.study}: moments, part {wildcards.part}"
    script:
        "../scripts/compute_moments.py"


use rule moments_part as moments_part_several with:
    output:
        table=temp("results/{study}/moments/part-{part}.parquet"),
        cells=temp("results/{study}/moments/part-{part}-cells.parquet"),
        details=temp("results/{study}/moments/part-{part}.json"),
    wildcard_constraints:
        study=those(lambda study: study["parts"] and study["several"]),
        part=r"\d+",


rule moments_merged:
    input:
        unpack(moments_parts),
        data="results/{study}/data/data.json",
        lib=lib("merge_moments"),
    output:
        table=ensure("results/{study}/moments/moments.parquet", non_empty=True),
        details="results/{study}/moments/moments.json",
        design="results/{study}/moments/design.json",
    log:
        "results/{study}/logs/moments.log",
    benchmark:
        "results/{study}/benchmarks/moments.tsv"
    wildcard_constraints:
        study=those(lambda study: study["parts"] and not study["several"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        settings=settings("moments"),
    message:
        "{wildcards.study}: merging moments"
    script:
        "../scripts/merge_moments.py"


use rule moments_merged as moments_merged_several with:
    output:
        table=ensure("results/{study}/moments/moments.parquet", non_empty=True),
        cells=ensure("results/{study}/moments/cells.parquet", non_empty=True),
        details="results/{study}/moments/moments.json",
        design="results/{study}/moments/design.json",
    wildcard_constraints:
        study=those(lambda study: study["parts"] and study["several"]),
