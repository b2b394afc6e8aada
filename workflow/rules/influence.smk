"""What every estimate of reml would be without each level of each grouping factor, by exact refits.

moments/ (several grouping factors: and the rows) -> reml/influence.parquet, reml/influence.json
"""


rule influence:
    input:
        unpack(criticised),
        lib=lib("measure_influence"),
    output:
        table=f"results/{{study}}/{EXACT}/influence.parquet",
        about=f"results/{{study}}/{EXACT}/influence.json",
    log:
        "results/{study}/logs/influence.log",
    benchmark:
        "results/{study}/benchmarks/influence.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("influence"),
    message:
        "{wildcards.study}: influence of each group"
    script:
        "../scripts/measure_influence.py"
