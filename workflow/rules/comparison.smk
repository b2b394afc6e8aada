"""The engines held against the truth and against each other.

every engine's tables, data/truth.json, moments/ -> comparison/variance_recovery.csv, variance_explained.csv,
ranef_differences.csv
"""


rule comparison:
    input:
        unpack(moments),
        unpack(fits),
        lib=lib("build_comparison"),
    output:
        variance_recovery=ensure(
            "results/{study}/comparison/variance_recovery.csv", non_empty=True
        ),
        variance_explained="results/{study}/comparison/variance_explained.csv",
        ranef_differences="results/{study}/comparison/ranef_differences.csv",
    log:
        "results/{study}/logs/comparison.log",
    benchmark:
        "results/{study}/benchmarks/comparison.tsv"
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("comparison"),
    message:
        "{wildcards.study}: comparison"
    script:
        "../scripts/build_comparison.py"
