"""Estimated marginal means, slopes and contrasts of all engines on one reference grid.

moments/design.json, data/data.json -> effects/functions.json, before any fit
effects/functions.json, moments/, mixedlm/, pymc/posterior.nc -> effects/effects.csv
"""


rule effect_functions:
    input:
        design="results/{study}/moments/design.json",
        data="results/{study}/data/data.json",
        lib=lib("list_effects"),
    output:
        functions="results/{study}/effects/functions.json",
    log:
        "results/{study}/logs/effect_functions.log",
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("effect_functions"),
    message:
        "{wildcards.study}: means, slopes and contrasts to estimate"
    script:
        "../scripts/list_effects.py"


rule effects:
    input:
        unpack(moments),
        unpack(estimated),
        lib=lib("estimate_effects"),
    output:
        table="results/{study}/effects/effects.csv",
    log:
        "results/{study}/logs/effects.log",
    benchmark:
        "results/{study}/benchmarks/effects.tsv"
    localrule: short()
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=settings("effects"),
    message:
        "{wildcards.study}: means, slopes and contrasts"
    script:
        "../scripts/estimate_effects.py"
