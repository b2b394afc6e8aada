"""A study of own data run stage by stage in this process, by the rules' own scripts: no Snakemake to start."""

import runpy
from pathlib import Path
from types import SimpleNamespace

from lmm.core import engines
from planning import plan

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"


class Run:
    """One study of one grouping factor, fitted by ols and reml.

    Parameters
    ----------
    root : Path
        Directory of the run.
    settings : dict
        As under `studies.<name>`; paths of files absolute; with `predict`.
    monkeypatch : MonkeyPatch
        Takes away the scripts' frame, which redirects the output of a process.
    """

    def __init__(self, root: Path, settings: dict, monkeypatch):
        monkeypatch.setattr("running.frame.run", lambda main, job: main(job))
        self.name, self.results = "own", root / "results"
        self.base = self.results / self.name
        settings = settings | {"engines": {"ols": {}, "reml": {}}}
        self.study = plan.make({"studies": {self.name: settings}}, root)["studies"][self.name]

    def script(self, script: str, inputs: dict, outputs: dict, stage: str | None = None, **params) -> None:
        """Run a script of the rules with the settings of a stage."""
        job = SimpleNamespace(
            input={name: self.path(file) for name, file in inputs.items()},
            output={name: self.path(file) for name, file in outputs.items()},
            params={"settings": self.study["stages"].get(stage)} | params,
            wildcards={"study": self.name},
            resources=SimpleNamespace(mem_mb=1000),
            threads=1,
        )
        for part in ("input", "output", "params", "wildcards"):
            setattr(job, part, Named(getattr(job, part)))
        runpy.run_path(str(SCRIPTS / f"{script}.py"), {"snakemake": job})

    def path(self, file):
        """A path below the study's results; those of other places are absolute."""
        return [*map(str, file)] if isinstance(file, list) else str(self.base / file)

    def everything(self) -> str:
        """All stages; the study's page."""
        rows = {"data": "data/data.json", "rows": "data/data.parquet"}
        moments = {
            "moments": "moments/moments.parquet",
            "moments_details": "moments/moments.json",
            "design": "moments/design.json",
        }
        made = {
            "table": moments["moments"],
            "details": moments["moments_details"],
            "design": moments["design"],
        }
        functions = {"functions": "effects/functions.json"}
        new = {"predict": "predictions/new_rows.parquet"}
        details, copied = {"details": rows["data"], "rows": rows["rows"]}, {"rows": new["predict"]}
        self.script("ingest_data", {"sources": self.study["files"]}, details, "ingest")
        self.script("check_new_rows", rows | {"predict": self.study["predict"]}, copied, "new_rows")
        self.script("compute_moments", rows, made, "moments")
        self.script("list_effects", moments | rows, functions, "effect_functions")
        fits = {}
        for name in self.study["engines"]:
            own = {kind: f"{name}/{file}" for kind, file in engines.row(name).files.items()}
            self.script("fit_engine", moments | rows, own, name, engine=name)
            fits |= {f"{name}_{kind}": file for kind, file in own.items()}
        influence = {"table": "reml/influence.parquet", "about": "reml/influence.json"}
        self.script("measure_influence", moments, influence, "influence")
        tables = ("variance_recovery", "variance_explained", "ranef_differences")
        compared = {name: f"comparison/{name}.csv" for name in tables}
        self.script("build_comparison", moments | fits, compared, "comparison")
        effects = {"table": "effects/effects.csv"}
        self.script("estimate_effects", moments | functions | fits, effects, "effects")
        predicted = {"table": "predictions/predictions.parquet", "details": "predictions/predictions.json"}
        self.script("predict_rows", moments | rows | fits | new, predicted, "predictions")
        shown = (
            fits | compared | {"data": rows["rows"], "data_json": rows["data"], "effects": effects["table"]}
        )
        shown |= {"tests": fits["reml_tests"], "influence": influence["table"]}
        shown |= {"influence_about": influence["about"]}
        self.script("draw_figures", shown, {"figures": "figures"}, "figures")
        shown |= {"predictions": predicted["details"], "figures": "figures"}
        shown = {f"{self.name}/{key}": file for key, file in shown.items()}
        page = {"page": "report.html", "summary": "summary.json", "tables": "tables"}
        own = {"settings": {}, "studies": {self.name: self.study["stages"]["report"]}}
        self.script("write_report", shown, page, **own)
        return (self.base / page["page"]).read_text()


class Named(dict):
    """Inputs, outputs, parameters and wildcards as a script sees them."""

    __getattr__ = dict.__getitem__
