"""Every engine's fit, one rule for each row of the catalogue (lmm/core/engines.py), by the one script.

moments/ (and the rows, where the engine reads them; the exact engine's fit, where it starts there)
    -> <engine>/parameters.csv, diagnostics.json, ranef.parquet and what else its row lists
"""

for engine in engines.ENGINES.values():

    rule:
        name:
            engine.name
        input:
            unpack(fitted_from(engine)),
            lib=lib("fit_engine", engine.module),
        output:
            **written_by(engine),
        log:
            f"results/{{study}}/logs/{engine.name}.log",
        benchmark:
            f"results/{{study}}/benchmarks/{engine.name}.tsv"
        priority: engine.priority
        conda:
            "../../environment.yml"
        threads: cores_of(engine)
        resources:
            mem_mb=growing(engine.megabytes),
            runtime=growing(engine.minutes),
        params:
            settings=settings(engine.name),
            engine=engine.name,
        message:
            f"{{wildcards.study}}: {engine.title}"
        script:
            "../scripts/fit_engine.py"
