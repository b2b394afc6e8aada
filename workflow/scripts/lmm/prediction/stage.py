"""The predictions stage: every engine's predictions of one list of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lmm.core.engines import BAYES, row
from lmm.core.errors import StudyError
from lmm.core.tidy import OWN_ROWS, Fit
from lmm.model.design import rebuild
from lmm.model.syntax import spaced
from lmm.moments.moments import Moments
from lmm.prediction.predict import COLUMNS, predict

NAMED = 5  # new groups that are named


def by_all(
    paths: Mapping[str, str],
    designs: Mapping[str, Any],
    moments: Moments,
    rows: pd.DataFrame | None,
    settings: Mapping[str, Any],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predictions by every engine that fitted the model.

    Parameters
    ----------
    paths : mapping
        <engine>_parameters, <engine>_diagnostics, <engine>_ranef, posterior.
    designs : mapping
        design.json's content.
    moments : Moments
    rows : DataFrame or None
        Predictors and grouping factor, indexed by source and row.
    settings : mapping
        conf_level; engines: name -> formula, and priors of a Bayesian engine.

    Returns
    -------
    table : DataFrame
        Columns `predictions.COLUMNS`, engine after engine.
    details : dict
        rows by source; of the rows that are no data, the groups that the data have (known_groups, known_rows) and
        have not (new_groups, new_rows, new_names: some of them); rows whose mean the data cannot tell (see
        `Design.estimable`), methods by engine, why an engine was left out.
    """
    left_out, tables, count, met = {}, [], {}, {}
    if rows is not None:
        listed = rows.index.to_frame(index=False).assign(level=rows[moments.group].astype(str).to_numpy())
        count = listed["source"].value_counts().to_dict()
        met = _met(listed.loc[listed["source"] == "predict", "level"], moments.levels)
    for engine, about in settings["engines"].items():
        kinds = ("parameters", "diagnostics", "ranef")
        fit = Fit.read(*(paths[f"{engine}_{kind}"] for kind in kinds))
        if not len(fit.parameters) or not len(fit.ranef) or fit.parameters["estimate"].isna().all():
            left_out[engine] = fit.diagnostics.message or fit.diagnostics.status
            continue
        design = rebuild(designs[spaced(about["formula"])]["state"])
        prior, posterior = {}, None
        if row(engine).family == BAYES:
            try:
                prior = _normal_prior(about["priors"], moments, design.terms)
            except StudyError as error:
                left_out[engine] = error.what
                continue
            posterior = _posterior(paths["posterior"])
        if rows is not None:
            W, known = design.predictors(rows), listed.assign(estimable=design.estimable(rows))
            tables.append(
                predict(fit, moments, design.terms, W, known, settings["conf_level"], posterior, prior)
            )
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    methods = {engine: row(engine).predicts for engine in settings["engines"] if engine not in left_out}
    return table, {
        "rows": {source: int(number) for source, number in count.items()},
        **met,
        "not_estimable": int((~table["estimable"]).sum()) // len(tables) if tables else 0,
        "own_rows_limit": OWN_ROWS,
        "conf_level": settings["conf_level"],
        "methods": methods,
        "left_out": left_out,
    }


def _met(levels: pd.Series, known: Sequence[str]) -> dict[str, Any]:
    """Groups and rows that the data know, and that they do not; nothing without rows."""
    if not len(levels):
        return {}
    there = levels.isin(known)
    new = levels[~there].unique().tolist()
    return {
        "known_groups": int(levels[there].nunique()),
        "known_rows": int(there.sum()),
        "new_groups": len(new),
        "new_rows": int((~there).sum()),
        "new_names": new[:NAMED],
    }


def _normal_prior(priors: Mapping[str, Any], moments: Moments, terms: Any) -> dict[str, Any]:
    """The fixed effects' joint normal prior; empty for flat ones."""
    from lmm.engines.pymc.priors import resolve

    return resolve(priors, moments, terms.fixed, terms.blocks, marginal=True).normal


def _posterior(path: str) -> Any:
    """The draws of a posterior."""
    import xarray

    return xarray.open_dataset(path, group="posterior", engine="h5netcdf")
