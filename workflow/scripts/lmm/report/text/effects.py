"""Sentences on means, slopes and contrasts, and on models that are compared."""

from lmm.core.words import counted, listed, number, scaled
from lmm.model.formula import parse
from lmm.report.tables.effects import effects as table
from lmm.results.study import Results


def effects(results: Results) -> list[str]:
    """How means and slopes are averaged, where the results have some that are not fixed effects."""
    if table(results) is None:
        return []
    said = [
        "Means, slopes and contrasts average over the levels of other categorical predictors with equal weights; "
        "other numeric predictors are at their means."
    ]
    offsets = parse(results.settings["formula"]).offsets
    if offsets and (results.tables["effects"]["kind"] == "mean").any():
        where = [f"{results.labels.column(name)} at {_mean(results, name)}" for name in offsets]
        said.append(f"Means are predicted with the offset at its mean ({listed(where)}).")
    return said


def _mean(results: Results, column: str) -> str:
    about = results.data["columns"][column]
    return scaled(about["mean"], about["max"] - about["min"])


def models(results: Results) -> list[str]:
    """Which model is ahead, and what is to be borne in mind."""
    table, about = results.tables["models"], results.notes.get("models_about", {})
    best = table.loc[table["AIC"].idxmin()]
    said = [
        f"All {counted(len(table), 'model')} were fitted to the same {counted(about['rows'], 'row')}; AIC is lowest "
        f"for {best['model']} (weight {number(best['weight'], 3)})."
    ]
    if about.get("dropped"):
        said.append(f"Not complete for all of them, and left out: {counted(about['dropped'], 'row')}.")
    return said + [f"{note[0].upper()}{note[1:]}." for note in about.get("notes", [])]
