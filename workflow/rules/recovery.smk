"""Replicates of a study in chunks, and what they say of the engines.

settings (own data: moments/, and pymc/posterior.nc where parameters come from the posterior)
    -> recovery/chunks/<designs>/<first>-<stop>.parquet (recovery/ranks/... under calibration, recovery/sums/...
       where only sums are kept)
    -> recovery/until/<batch>.json, where replicates end at Monte Carlo errors: which designs get another batch
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
        # written before, and once: it makes no replicate run again
        plan=ancient("results/{study}/recovery/plan.json"),
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
        study=replicated(
            lambda recovery: not recovery["ranked"] and not recovery["summed"]
        ),
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


checkpoint batch_judged:
    input:
        unpack(chunk_files),
        lib=lib("judge_batch"),
    output:
        judged="results/{study}/recovery/until/{round}.json",
    log:
        "results/{study}/logs/until/{round}.log",
    benchmark:
        "results/{study}/benchmarks/until/{round}.tsv"
    wildcard_constraints:
        study=replicated(lambda recovery: recovery["until"]),
        round=r"\d+",
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        designs=lambda wildcards: studies[wildcards.study]["recovery"]["keys"],
        until=lambda wildcards: studies[wildcards.study]["recovery"]["until"],
    message:
        "{wildcards.study}: Monte Carlo errors after batch {wildcards.round}"
    script:
        "../scripts/judge_batch.py"


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
