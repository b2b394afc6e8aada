"""A study run stage by stage in this process, by the rules' own scripts: seconds instead of a minute of Snakemake."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from planning import plan

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"


class Named(dict):
    """Inputs, outputs or parameters as a script sees them."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Run:
    """One study of own data in a directory of its own.

    Parameters
    ----------
    root : Path
    settings : dict
        As under `studies.<name>`; paths of files absolute.
    monkeypatch : MonkeyPatch
    """

    def __init__(self, root: Path, settings: dict, monkeypatch, name: str = "own"):
        # the scripts' own frame redirects the process's output
        monkeypatch.setattr("running.frame.run", lambda main, job: main(job))
        self.root, self.name, self.base = root, name, root / "results" / name
        self.study = plan.make({"studies": {name: settings}}, root)["studies"][name]

    def script(self, script: str, stage: str, inputs: dict, outputs: dict) -> None:
        """Run a script with the settings of a stage."""
        job = SimpleNamespace(
            input=Named(inputs),
            output=Named({key: str(path) for key, path in outputs.items()}),
            params=Named(settings=self.study["stages"].get(stage), studies={}),
            wildcards=Named(study=self.name),
            resources=SimpleNamespace(mem_mb=1000),
            threads=1,
        )
        runpy.run_path(str(SCRIPTS / f"{script}.py"), {"snakemake": job})

    def moments(self) -> dict[str, str]:
        """Inputs of every fit."""
        at = self.base / "moments"
        names = {"moments": "moments.parquet", "moments_details": "moments.json", "design": "design.json"}
        return {key: str(at / name) for key, name in names.items()}

    def rows(self) -> dict[str, str]:
        """What is said of the rows, and the rows."""
        return {"data": str(self.base / "data/data.json"), "rows": str(self.base / "data/data.parquet")}

    def fits(self, *kinds: str) -> dict[str, str]:
        """Tables of all engines."""
        files = {"parameters": "parameters.csv", "diagnostics": "diagnostics.json", "ranef": "ranef.parquet"}
        return {
            f"{engine}_{kind}": str(self.base / engine / file)
            for engine in self.study["engines"]
            for kind, file in files.items()
            if engine != "ols" or kind != "ranef"
        }

    def data(self) -> None:
        """The first stage: data.json, data.parquet."""
        inputs = {"sources": self.study["files"]}
        inputs |= {"predict": self.study["predict"]} if self.study["predict"] else {}
        outputs = {"details": self.base / "data/data.json", "rows": self.base / "data/data.parquet"}
        self.script("ingest_data", "ingest", inputs, outputs)

    def engine(self, name: str) -> None:
        """An engine's fit, and what is made of it alone."""
        at, inputs = self.base / name, self.moments()
        files = {"parameters": at / "parameters.csv", "diagnostics": at / "diagnostics.json"}
        files |= {"ranef": at / "ranef.parquet"} if name != "ols" else {}
        files |= {"coef": at / "coef.parquet"} if name == "mixedlm" else {}
        files |= {"posterior": at / "posterior.nc"} if name == "pymc" else {}
        self.script(f"fit_{name}", name, inputs | self.rows(), files)
        if name == "reml":
            outputs = {"table": at / "influence.parquet", "about": at / "influence.json"}
            self.script("measure_influence", "influence", inputs, outputs)
        if name == "pymc":
            outputs = {
                "loo": "loo.parquet",
                "predictive": "predictive.csv",
                "replicates": "replicates.parquet",
            }
            outputs |= {"sensitivity": "sensitivity.csv", "about": "criticism.json"}
            outputs = {key: at / file for key, file in outputs.items()}
            self.script(
                "criticise_pymc", "criticism", inputs | {"posterior": str(at / "posterior.nc")}, outputs
            )

    def everything(self) -> str:
        """All stages to the page, which is returned."""
        self.data()
        inputs = self.moments()
        outputs = {
            "table": inputs["moments"],
            "details": inputs["moments_details"],
            "design": inputs["design"],
        }
        self.script("compute_moments", "moments", self.rows(), outputs)
        for name in self.study["engines"]:
            self.engine(name)
        tables = ("variance_recovery", "variance_explained", "ranef_differences")
        outputs = {name: self.base / f"comparison/{name}.csv" for name in tables}
        self.script("build_comparison", "comparison", inputs | self.fits(), outputs)
        own = {"predict": self.study["predict"]} if self.study["predict"] else {}
        own |= {"posterior": str(self.base / "pymc/posterior.nc")} if "pymc" in self.study["engines"] else {}
        made = {"table": "predictions.parquet", "details": "predictions.json"}
        outputs = {key: self.base / "predictions" / file for key, file in made.items()}
        self.script("predict_rows", "predictions", inputs | self.rows() | self.fits() | own, outputs)
        return self.report()

    def report(self) -> str:
        """Figures and page, as `results.read` finds their inputs."""
        import made_results
        from lmm.report import figures, report

        inputs = made_results.paths(self.base.parent, self.name, self.study["engines"])
        inputs |= (
            {"predictions": str(self.base / "predictions/predictions.json")} if self.study["predict"] else {}
        )
        settings = self.study["stages"]["report"]
        figures.write(figures.draw(self.name, settings, inputs), self.base / "figures")
        inputs["figures"] = str(self.base / "figures")
        provenance = {"rendered": "", "revision": "", "versions": {}, "system": "", "run_times": []}
        page = report.render(
            {self.name: settings}, {f"{self.name}/{k}": v for k, v in inputs.items()}, {}, provenance
        )
        report.write(page, self.root / "results/report.html", self.root / "results/summary.json")
        return page.html
