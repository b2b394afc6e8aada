"""`snakemake` in this directory makes results/report.html for every study in config/config.yaml."""


include: "workflow/Snakefile"


rule report_of_all_studies:
    default_target: True
    input:
        rules.all.input,
