"""The predictions stage: every engine's predictions of one list of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lmm.core.engines import BAYES, row
from lmm.core.errors import StudyError
from lmm.core.tidy import OWN_ROWS, Fit
from lmm.data.levels import level_names
from lmm.model.design import rebuild
from lmm.model.formula import together
from lmm.model.syntax import spaced
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments, by_factor, narrowed
from lmm.prediction import several
from lmm.prediction.predict import COLUMNS, Beside, predict

NAMED = 5  # new groups that are named


def by_all(
    paths: Mapping[str, str],
    designs: Mapping[str, Any],
    moments: Moments | SeveralMoments,
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
    moments : Moments or SeveralMoments
    rows : DataFrame or None
        Predictors and grouping factors, indexed by source and row.
    settings : mapping
        conf_level; engines: name -> formula, and priors of a Bayesian engine.

    Returns
    -------
    table : DataFrame
        Columns `predict.COLUMNS`, engine after engine; of several factors `level__<factor>` in place of `level`.
    details : dict
        rows by source; of the rows that are no data, the groups that the data have (known_groups, known_rows) and
        have not (new_groups, new_rows, new_names: some of them), by factor under `factors` where there are several;
        rows whose mean the data cannot tell (see
        `Design.estimable`), methods by engine, why an engine was left out.
    """
    left_out, tables, count, met = {}, [], {}, {}
    if rows is not None:
        listed = rows.index.to_frame(index=False)
        factors, columns = by_factor(moments), together(list(designs)).factors
        many = isinstance(moments, SeveralMoments)
        for factor in columns:
            name = several.level_column(factor.group) if many else "level"
            listed[name] = level_names(rows, factor.columns).astype(str).to_numpy()
            own = _met(listed.loc[listed["source"] == "predict", name], factors[factor.group].levels)
            if own:
                met |= {"factors": met.get("factors", {}) | {factor.group: own}} if many else own
        count = listed["source"].value_counts().to_dict()
    for engine, about in settings["engines"].items():
        kinds = ("parameters", "diagnostics", "ranef")
        fit = Fit.read(*(paths[f"{engine}_{kind}"] for kind in kinds))
        if not len(fit.parameters) or not len(fit.ranef) or fit.parameters["estimate"].isna().all():
            left_out[engine] = fit.diagnostics.message or fit.diagnostics.status
            continue
        design = rebuild(designs[spaced(about["formula"])]["state"])
        prior, posterior = {}, None
        own = narrowed(moments, [grouping.group for grouping in design.terms.groupings])
        if row(engine).family == BAYES:
            try:
                prior = _normal_prior(about["priors"], own, design.terms)
            except StudyError as error:
                left_out[engine] = error.what
                continue
            posterior = _posterior(paths["posterior"])
        if rows is not None:
            W, known = design.predictors(rows), listed.assign(estimable=design.estimable(rows))
            weights = design.weights(rows)
            beside = Beside(1.0 if weights is None else weights, design.offset(rows))
            how = several.predict if isinstance(own, SeveralMoments) else predict
            level = settings["conf_level"]
            tables.append(how(fit, own, design.terms, W, known, level, posterior, prior, beside))
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


def _normal_prior(priors: Mapping[str, Any], moments: Moments | SeveralMoments, terms: Any) -> dict[str, Any]:
    """The fixed effects' joint normal prior; empty for flat ones."""
    from lmm.engines.pymc.priors import resolve
    from lmm.engines.pymc.several_priors import resolve_several

    if isinstance(moments, SeveralMoments):
        blocks = [grouping.blocks for grouping in terms.groupings]
        return resolve_several(priors, moments, terms.fixed, blocks).shared.normal
    return resolve(priors, moments, terms.fixed, terms.blocks, marginal=True).normal


def _posterior(path: str) -> Any:
    """The draws of a posterior."""
    import xarray

    return xarray.open_dataset(path, group="posterior", engine="h5netcdf")
