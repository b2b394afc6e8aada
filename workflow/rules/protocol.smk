"""The plan of a study with replicates, frozen before the first of them.

configuration -> recovery/plan.json, recovery/plan.html
"""


rule plan:
    output:
        # never taken away: a plan that is there is kept, whatever makes this run again
        plan=update("results/{study}/recovery/plan.json"),
        page=update("results/{study}/recovery/plan.html"),
    log:
        "results/{study}/logs/plan.log",
    benchmark:
        "results/{study}/benchmarks/plan.tsv"
    wildcard_constraints:
        study=replicated(),
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    params:
        # a function of `output` is not compared with that of an earlier run: another plan is no reason to run, for
        # of a job that runs, Snakemake asks nothing downstream whether it has reasons of its own
        plan=lambda wildcards, output: studies[wildcards.study]["recovery"]["plan"],
    message:
        "{wildcards.study}: plan"
    script:
        "../scripts/freeze_plan.py"
