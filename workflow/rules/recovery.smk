"""Replicates of a study in chunks, and what they say of the engines.

settings (own data: moments/, and pymc/posterior.nc where parameters come from the posterior)
    -> recovery/chunks/<designs>/<first>-<stop>.parquet (recovery/ranks/... under calibration, recovery/sums/...
       where only sums are kept)
    -> recovery/replicates.parquet (recovery/ranks.parquet)
    -> recovery/performance.csv, failures.csv (recovery/calibration.csv), diagnostics.json
"""


wildcard_constraints:
    bundle="[0-9a-f-]+",
    first=r"\d+",
    stop=r"\d+",


rule replicates:
    input:
        unpack(replicates_from),
        lib=fitting,
    output:
        replicates=ensure(
            "results/{study}/recovery/chunks/{bundle}/{first}-{stop}.parquet",
            non_empty=True,
        ),
    log:
        "results/{study}/logs/replicates/{bundle}/{first}-{stop}.log",
    benchmark:
        "results/{study}/benchmarks/replicates/{bundle}/{first}-{stop}.tsv"
    wildcard_constraints:
        study=replicated(lambda recovery: not recovery["ranked"] and not recovery["summed"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("replicates"),
        designs=lambda wildcards: [
            studies[wildcards.study]["recovery"]["designs"][key]
            for key in wildcards.bundle.split("-")
        ],
    message:
        "{wildcards.study}: replicates {wildcards.first} to {wildcards.stop}"
    script:
        "../scripts/run_recovery.py"


use rule replicates as replicates_summed with:
    output:
        replicates=ensure(
            "results/{study}/recovery/chunks/{bundle}/{first}-{stop}.parquet",
            non_empty=True,
        ),
        sums="results/{study}/recovery/sums/{bundle}/{first}-{stop}.parquet",
    wildcard_constraints:
        study=replicated(lambda recovery: recovery["summed"]),


use rule replicates as replicates_ranked with:
    output:
        replicates=ensure(
            "results/{study}/recovery/chunks/{bundle}/{first}-{stop}.parquet",
            non_empty=True,
        ),
        ranks="results/{study}/recovery/ranks/{bundle}/{first}-{stop}.parquet",
    wildcard_constraints:
        study=replicated(lambda recovery: recovery["ranked"]),


rule recovery:
    input:
        unpack(chunk_files),
        lib=lib("merge_recovery"),
    output:
        replicates=ensure("results/{study}/recovery/replicates.parquet", non_empty=True),
        performance=ensure("results/{study}/recovery/performance.csv", non_empty=True),
        failures="results/{study}/recovery/failures.csv",
        diagnostics="results/{study}/recovery/diagnostics.json",
    log:
        "results/{study}/logs/recovery.log",
    benchmark:
        "results/{study}/benchmarks/recovery.tsv"
    wildcard_constraints:
        study=replicated(lambda recovery: not recovery["ranked"]),
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        designs=lambda wildcards: studies[wildcards.study]["recovery"]["keys"],
    message:
        "{wildcards.study}: performance measures"
    script:
        "../scripts/merge_recovery.py"


use rule recovery as recovery_ranked with:
    output:
        replicates=ensure("results/{study}/recovery/replicates.parquet", non_empty=True),
        performance=ensure("results/{study}/recovery/performance.csv", non_empty=True),
        failures="results/{study}/recovery/failures.csv",
        diagnostics="results/{study}/recovery/diagnostics.json",
        ranks="results/{study}/recovery/ranks.parquet",
        calibration="results/{study}/recovery/calibration.csv",
    wildcard_constraints:
        study=replicated(lambda recovery: recovery["ranked"]),
    # not taken over from the rule that is used
    localrule: short()
