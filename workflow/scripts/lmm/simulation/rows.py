"""Grouped data from a linear mixed model, with the truth beside them.

Two generators: `r` repeats the post's draws from R's random numbers, in the post's order; `numpy` draws each
part (groups, each predictor, each random effect, errors) from a stream of its own (`lmm.core.streams`).
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmm.config.simulation import Predictor, Shape, Simulation
from lmm.config.simulation_checks import correlations
from lmm.core.streams import address, stream
from lmm.data.levels import encode, level_names
from lmm.model.design import Design, Terms, numeric_design
from lmm.model.parts import Formula
from lmm.simulation import layout
from lmm.simulation.r_random import RRandom
from lmm.simulation.truth import by_group, fixed, realised, sds, truth_of_parameters


class Drawn(NamedTuple):
    """A data set with one grouping factor.

    Attributes
    ----------
    y : (N,) array
        Response.
    predictors : dict of str to (N,) array
    codes : (N,) int array
        Group of each row, from 0.
    effects : (J, q) array
        Random effects of groups 1 to the number of groups.
    errors : (N,) array
    """

    y: np.ndarray
    predictors: dict[str, np.ndarray]
    codes: np.ndarray
    effects: np.ndarray
    errors: np.ndarray


def simulate(
    settings: Simulation, formula: Formula, sequence: np.random.SeedSequence | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw one data set.

    Parameters
    ----------
    settings : Simulation
        A scalar design, checked (`study.load` does).
    formula : Formula
        Its predictors are drawn, its response is computed.
    sequence : SeedSequence, optional
        The replicate's address (`streams.seed_sequence`). Without it: generator `r` starts from R's
        `set.seed(settings.seed)`, `numpy` from the seed alone. With it, `r` keys its Mersenne-Twister by it.

    Returns
    -------
    frame : DataFrame
        Response, predictors, grouping factors (text, "1" to the number of groups), in the order drawn.
    truth : dict
        fixed, sd, corr and sigma simulated from; `realised` sd's (ddof 1) and correlations of the random
        effects that were drawn, and the errors' sd; ranef: term to level to value; generator, seed. With several
        grouping factors sd, corr and ranef are by factor.
    """
    design = numeric_design(formula)
    if design.terms.several:
        return _several(settings, formula, design, sequence)
    found = drawn(settings, formula, sequence)
    levels = np.arange(1, settings.n_groups + 1).astype(str)
    frame = pd.DataFrame(
        {formula.variables[0]: found.y, **found.predictors, formula.group: levels[found.codes]}
    )
    truth = truth_of_parameters(settings, design.terms, found.effects, levels)
    return frame, truth | _realised(settings, realised(design.terms, found.effects, found.errors))


def drawn(settings: Simulation, formula: Formula, sequence: np.random.SeedSequence | None = None) -> Drawn:
    """`simulate` with one grouping factor, without a table: text for every row costs more than a fit.

    Parameters
    ----------
    settings : Simulation
        A scalar design.
    formula : Formula
        With one grouping factor.
    sequence : SeedSequence, optional
        As in `simulate`.

    Returns
    -------
    Drawn
    """
    design = numeric_design(formula)
    if settings.generator == "r":
        predictors, codes, effects, errors = _draw_r(settings, formula, design.terms, sequence)
    else:
        source = np.random.SeedSequence(settings.seed) if sequence is None else sequence
        codes = _groups(settings, source)
        predictors = _predictors(settings, formula, {formula.group: codes}, source)
        effects = _effects(settings, design.terms, source, settings.n_groups)
        errors = settings.sigma * unit(settings.errors, stream(source, "errors"), len(codes))
    y = _response(settings, design, predictors, [effects[codes]], errors)
    return Drawn(y, predictors, codes, effects, errors)


def _several(
    settings: Simulation, formula: Formula, design: Design, sequence: np.random.SeedSequence | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`simulate` with several grouping factors: the truth's sd, corr, ranef and realised values are by factor."""
    source = np.random.SeedSequence(settings.seed) if sequence is None else sequence
    columns = list(dict.fromkeys(name for key in formula.keys for name in key))
    codes = layout.codes(settings, columns, stream(source, "groups"))
    predictors = _predictors(settings, formula, codes, source)
    labels = pd.DataFrame({name: (own + 1).astype(str) for name, own in codes.items()})
    size = len(labels)
    errors = settings.sigma * unit(settings.errors, stream(source, "errors"), size)
    parts, by_factor, drawn = [], {}, {}
    for grouping in design.terms.groupings:
        own, terms = settings.of_factor(grouping.group), design.terms.of(grouping)
        at, levels = encode(level_names(labels, grouping.columns))
        effects = _effects(own, terms, source, len(levels), f"{grouping.group}|")
        parts.append(effects[at])
        by_factor[grouping.group] = truth_of_parameters(own, terms, effects, levels.astype(str))
        drawn[grouping.group] = realised(terms, effects, errors)
    y = _response(settings, design, predictors, parts, errors)
    frame = pd.DataFrame({formula.variables[0]: y, **predictors}).join(labels)
    return frame, by_group(by_factor) | _realised(settings, by_group(drawn))


def predictors_and_effects(
    settings: Simulation, formula: Formula, sequence: np.random.SeedSequence
) -> tuple[pd.DataFrame, np.ndarray]:
    """A data set of `simulate` without its errors and response, for replicates drawn as moments.

    Parameters
    ----------
    settings : Simulation
        A scalar design.
    formula : Formula
        The parsed formula.
    sequence : SeedSequence
        Of the replicate, from `seed_sequence`.

    Returns
    -------
    frame : DataFrame
        Predictors and grouping factor, its levels as numbers from 1.
    effects : (J, q) array
        Random effects of groups 1 to the number of groups.
    """
    codes = _groups(settings, sequence)
    predictors = _predictors(settings, formula, {formula.group: codes}, sequence)
    frame = pd.DataFrame({**predictors, formula.group: codes + 1})
    return frame, _effects(settings, numeric_design(formula).terms, sequence, settings.n_groups)


def _draw_r(
    settings: Simulation, formula: Formula, terms: Terms, sequence: np.random.SeedSequence | None
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """The post's draws in the post's order: intercepts, slopes, x, group, noise."""
    random = RRandom(settings.seed)
    if sequence is not None:
        random = RRandom.from_sequence(address(sequence, "predictors"))
    sd = sds(settings, terms)
    effects = np.column_stack([random.norm(settings.n_groups, 0.0, sd[term]) for term in terms.random])
    predictor = settings.predictors.get(formula.predictors[0], Predictor())
    x = random.norm(settings.rows, predictor.mean, predictor.sd)
    codes = random.sample(settings.n_groups, settings.rows) - 1
    return {formula.predictors[0]: x}, codes, effects, random.norm(settings.rows, 0.0, settings.sigma)


def _groups(settings: Simulation, source: np.random.SeedSequence) -> np.ndarray:
    """(N,) group of each row from 0."""
    return groups_drawn(settings, stream(source, "groups"))


def groups_drawn(settings: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Group of each row from 0: at random over all groups, or group after group.

    Parameters
    ----------
    settings : Simulation
        A scalar design.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    (N,) int array
    """
    groups = settings.n_groups
    if settings.group_rows is None:
        return rng.integers(groups, size=settings.rows)
    return np.repeat(np.arange(groups), layout.sizes(settings, rng, groups))


def _predictors(
    settings: Simulation, formula: Formula, groups: dict[str, np.ndarray], source: np.random.SeedSequence
) -> dict[str, np.ndarray]:
    """Each predictor from its own stream: one more does not change the others. `groups`: column to rows' levels."""
    out = {}
    first = next(iter(groups.values()))
    for name in formula.predictors:
        how = settings.predictors.get(name, Predictor())
        rng = stream(source, "predictors", name)
        codes = groups[how.between] if isinstance(how.between, str) else first
        if how.distribution == "latin_square":
            out[name] = layout.latin_square(settings, groups, how.conditions)
            continue
        levels = settings.levels.get(how.between, settings.n_groups) if how.between else 0
        out[name] = predictor_drawn(how, levels, codes, rng)
    return out


def predictor_drawn(how: Predictor, levels: int, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A predictor's values; not those of a Latin square, which are not drawn.

    Parameters
    ----------
    how : Predictor
        Its distribution.
    levels : int
        Of the factor within whose levels it is constant.
    codes : (N,) int array
        Level of each row.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    (N,) array
    """
    if how.distribution == "sequence":
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes)
        place = np.empty(len(codes))  # of a row within its level
        place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
        return how.start + how.step * place
    size = levels if how.between else len(codes)
    if how.distribution == "normal":
        values = rng.normal(how.mean, how.sd, size)
    elif how.distribution == "uniform":
        values = rng.uniform(how.low, how.high, size)
    else:
        values = (rng.random(size) < how.p).astype(np.float64)
    return values[codes] if how.between else values


def _effects(
    settings: Simulation, terms: Terms, source: np.random.SeedSequence, count: int, prefix: str = ""
) -> np.ndarray:
    """(J, q) random effects: unit variables of the chosen shape, correlated and scaled block by block."""
    drawn = [
        unit(settings.random_effects, stream(source, "ranef", prefix + name), count) for name in terms.random
    ]
    return np.column_stack(drawn) @ random_root(settings, terms).T


def random_root(settings: Simulation, terms: Terms) -> np.ndarray:
    """A root of D.

    Parameters
    ----------
    settings : Simulation
        A scalar design.
    terms : Terms
        Names of the columns of X and Z.

    Returns
    -------
    (q, q) array
    """
    roots = [_root(corr) for corr in correlations(settings, terms)]
    return np.array(list(sds(settings, terms).values()))[:, None] * block_diag(*roots)


def _root(corr: np.ndarray) -> np.ndarray:
    """Lower triangular root of a positive semi-definite correlation matrix; singular ones are allowed."""
    root = np.zeros_like(corr)
    for j in range(len(corr)):
        rest = corr[j:, j] - root[j:, :j] @ root[j, :j]
        # a pivot of rounding size is 0: that effect is a linear combination of those before it
        if rest[0] > 1e-12:
            root[j:, j] = rest / np.sqrt(rest[0])
    return root


def unit(shape: Shape, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws with mean 0 and variance 1.

    Parameters
    ----------
    shape : Shape
        The distribution.
    rng : Generator
        Source of the random numbers.
    size : int
        Number of draws.

    Returns
    -------
    (size,) array
    """
    if shape.distribution == "student":
        return rng.standard_t(shape.df, size) * np.sqrt((shape.df - 2) / shape.df)
    if shape.distribution == "skewed":
        return (rng.standard_gamma(shape.shape, size) - shape.shape) / np.sqrt(shape.shape)
    return rng.standard_normal(size)


def _response(
    settings: Simulation,
    design: Design,
    predictors: dict[str, np.ndarray],
    effects: list[np.ndarray],
    errors: np.ndarray,
) -> np.ndarray:
    """y = X beta + sum_k Z_k u_k + e; `effects` of each factor are those of the rows' levels, (N, q_k)."""
    columns = list(design.terms.columns)
    w = design.of_arrays(predictors, len(errors))
    beta = np.zeros((len(errors), len(columns)))
    for name, value in fixed(settings, design.terms).items():
        beta[:, columns.index(name)] += value
    for grouping, own in zip(design.terms.groupings, effects, strict=True):
        for k, name in enumerate(grouping.random):
            beta[:, columns.index(name)] += own[:, k]
    return np.einsum("nk,nk->n", w, beta) + errors


def _realised(settings: Simulation, drawn: dict[str, Any]) -> dict[str, Any]:
    return {"realised": drawn, "generator": settings.generator, "seed": settings.seed}
