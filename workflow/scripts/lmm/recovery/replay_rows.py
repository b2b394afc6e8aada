"""A replicate that was drawn as moments, as rows: for a replay in full."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.streams import seed_sequence, stream
from lmm.data.levels import encode, suffix
from lmm.engines.pymc.priors import resolve
from lmm.engines.pymc.several_priors import resolve_several
from lmm.model.design import Design
from lmm.model.terms import Terms
from lmm.moments import accumulate
from lmm.moments.several import narrowed
from lmm.recovery.data import Bootstrap, Simulated
from lmm.recovery.several_data import SeveralBootstrap, renamed
from lmm.simulation import moments, rows_of_moments
from lmm.simulation.truth import realised


@dataclass(frozen=True)
class Replayed:
    """A data set to analyse as a user's own.

    Attributes
    ----------
    frame : DataFrame
        Response, predictors, grouping factor as text.
    truth : dict
        As truth.json.
    response : str
        The response's column.
    """

    frame: pd.DataFrame
    truth: dict[str, Any]
    response: str


def check_size(rows: int) -> None:
    """Refuse to write more rows than `rows_of_moments.MOST_ROWS`.

    Raises
    ------
    StudyError
    """
    most = rows_of_moments.MOST_ROWS
    if rows > most:
        raise StudyError(
            "replicates",
            f"drawn as moments of {rows:,} rows; a replay writes them out, expected at most {most:,} rows",
        )


def simulated(source: Simulated, replicate: int) -> Replayed:
    """Rows of a simulated design with the moments that were drawn.

    Parameters
    ----------
    source : Simulated
        One that draws moments.
    replicate : int
        Its number, from 0.

    Returns
    -------
    Replayed
    """
    drawn = source.draw(replicate)
    frame, W, codes, levels, effects = source.drawn_rows(replicate)
    terms = source.design.terms
    made = accumulate.compute(terms, np.zeros(len(W)), W, codes, levels, whole=False)
    rng = stream(seed_sequence(source.seed, source.key, replicate), "rows")
    y = rows_of_moments.response(rng, moments.prepare(made), drawn.moments, W, codes)
    own = effects[levels.astype(int) - 1]
    truth = _with_realised(drawn.truth, source.terms, terms.columns, own, W, codes, y)
    name = source.formula.response
    return Replayed(pd.DataFrame({name: y}).join(frame), truth, name)


def bootstrapped(
    source: Bootstrap | SeveralBootstrap, replicate: int, design: Design, frame: pd.DataFrame
) -> Replayed:
    """A user's rows with a response that has the moments that were drawn.

    Under posterior calibration the observed rows come first, the replicate's groups have a ' behind their names.

    Parameters
    ----------
    source : Bootstrap or SeveralBootstrap
        Draws moments of the user's design, or responses.
    replicate : int
        Its number, from 0.
    design : Design
        With the columns of all formulas, as the moments have them.
    frame : DataFrame
        The user's rows.

    Returns
    -------
    Replayed
    """
    names = list(design.formula.predictors)
    if isinstance(source, SeveralBootstrap):
        y, truth = source.drawn(replicate)
        response = column_of(design.formula.response, [*frame.columns])
        labels = [name for key in design.formula.keys for name in key if name not in names]
        rows = frame[[*names, *dict.fromkeys(labels)]].copy()
        if source.augment:  # the last column of a factor names its new levels: see `several_data.renamed`
            new = {key[-1]: renamed(rows[key[-1]].astype(str).to_numpy()) for key in design.formula.keys}
            rows = pd.concat([rows, rows.assign(**new)], ignore_index=True)
            y = np.append(source.rows.y, y)
        rows.insert(0, response, y)
        return Replayed(rows, truth, response)
    group = design.terms.group
    observed, W = design.matrix(frame)
    codes, levels = encode(frame[group])
    drawn = source.draw(replicate)
    rng = stream(seed_sequence(source.seed, source.key, replicate), "rows")
    y = rows_of_moments.response(rng, source.made, drawn.own, W, codes)
    last = len(levels)
    effects = np.column_stack(
        [list(drawn.truth["ranef"][term].values()) for term in source.terms.random]
    ).reshape(last, -1)
    truth = _with_realised(drawn.truth, source.terms, design.terms.columns, effects, W, codes, y)
    response = column_of(design.formula.response, [*frame.columns])
    rows = frame[names].assign(**{group: levels[codes].astype(str)})
    if source.augment:
        rows = pd.concat([rows, rows.assign(**{group: rows[group] + suffix(levels)})], ignore_index=True)
        y = np.concatenate([observed, y])
    rows.insert(0, response, y)
    return Replayed(rows, truth, response)


def column_of(response: str, columns: list[str]) -> str:
    """A column for the response: itself, or for log(y), whose values are drawn as such, `log_y`."""
    if response in columns:
        return response
    name = "_".join(re.findall(r"\w+", response))
    name = name if name[:1].isalpha() else f"y_{name}"
    while name in columns:
        name += "_"
    return name


def priors_in_numbers(
    settings: dict[str, Any], source: Bootstrap | SeveralBootstrap, terms: Terms
) -> dict[str, Any]:
    """Priors as posterior calibration has them: `auto` scaled by the observed data alone.

    Parameters
    ----------
    settings : dict
        `priors` of the pymc engine.
    source : Bootstrap
        Has the observed data.
    terms : Terms
        Of pymc's formula.

    Returns
    -------
    dict

    Raises
    ------
    StudyError
        The prior is on the intercept at the observed predictors' means, which no configuration can say.
    """
    if terms.several:
        groups = [own.group for own in terms.groupings]
        blocks = [own.blocks for own in terms.groupings]
        several = resolve_several(settings, narrowed(source.observed, groups), terms.fixed, blocks)
        factors = list(several.factors)
    else:
        factors = [resolve(settings, source.observed, terms.fixed, terms.blocks, marginal=True)]
    first, sd = factors[0], {}
    _check_moved("fixed", first.fixed, first.moved_fixed)
    for grouping, own in zip(terms.groupings, factors, strict=True):
        _check_moved("sd", own.sd, own.moved_random)
        sd[grouping.group] = {term: prior.text for term, prior in own.sd.items()}
    fixed = {term: prior.text for term, prior in first.fixed.items()}
    return {"fixed": fixed, "sd": sd if terms.several else sd[terms.group], "sigma": first.sigma.text,
            "corr": first.corr.text}  # fmt: skip


def _check_moved(kind: str, names: Iterable[str], moved: Iterable[bool]) -> None:
    """Refuse a prior at the observed predictors' means."""
    for name, one in zip(names, moved, strict=True):
        if one:
            expected = "flat or normal(mean, sd)" if kind == "fixed" else "a prior with numbers"
            raise StudyError(
                f"engines.pymc.priors.{kind}.{name}",
                "'auto' is scaled and centred by the observed data, and a replay of posterior calibration analyses "
                f"these and the replicate together; expected {expected}",
            )


def _with_realised(
    truth: dict[str, Any], terms: Terms, columns: tuple[str, ...], effects: np.ndarray, W: np.ndarray,
    codes: np.ndarray, y: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """The truth and what was drawn from it: `effects` (J, q) and the errors of the rows."""
    beta = np.array([truth["fixed"].get(name, 0.0) for name in columns])
    errors = y - W @ beta
    for k, name in enumerate(terms.random):
        errors -= W[:, columns.index(name)] * effects[codes, k]
    return truth | {"realised": realised(terms, effects, errors)}
