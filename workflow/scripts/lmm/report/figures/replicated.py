"""The figures of a study with replicates: which there are, and drawing them."""

from collections.abc import Mapping
from typing import Any

from lmm.report.figures import Drawn, Figure, calibration, nested, recovery
from lmm.results.replicated import Recovered, read

FIGURES = {
    "summary": (recovery.overview, ""),
    "bias": (recovery.against, "bias"),
    "coverage": (recovery.against, "coverage"),
    "rmse": (recovery.against, "rmse"),
    "grid": (nested.nested, ""),
    "zip": (calibration.zipped, ""),
    "endings": (recovery.endings, ""),
    "calibration": (calibration.ranks, ""),
}


def names(recovered: Recovered) -> list[str]:
    """The figures that these results allow, in the report's order."""
    table = recovered.tables["failures"]
    wanted = {"summary"} if not recovered.axes else {"bias", "coverage", "rmse"}
    wanted |= {"grid"} if len(recovered.axes) > 1 else set()
    wanted |= {"zip"} if recovered.replicates and len(recovered.rows("coverage")) else set()
    wanted |= {"endings"} if (table["status"] != "ok").any() else set()
    wanted |= {"calibration"} if "calibration" in recovered.tables and recovered.ranks is not None else set()
    return [name for name in FIGURES if name in wanted]


def draw(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Drawn:
    """Draw every figure of a study with replicates; `figures.write` writes them.

    Parameters
    ----------
    study : str
    settings, paths : mapping
        As `recovered.read` takes them.
    """
    recovered = read(study, settings, paths)
    drawn = {}
    for name in names(recovered):
        function, measure = FIGURES[name]
        drawn[name] = Figure.of(function(recovered, measure), study, name)
    return Drawn(drawn, None)
