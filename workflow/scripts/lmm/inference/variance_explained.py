"""How much of the variance a mixed model explains: the post's ratio, and measures that have no unit.

Everything follows from beta, the D_k, sigma and matrices of the design, Z_k'Z_k / N and the covariance of X's rows;
so the same functions serve an estimate, the truth and every draw of a posterior (leading axes). See
docs/statistics.md, section 12.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lmm.core.tidy import RESIDUAL, Fit, cor_name, sd_name, truth_of, variable
from lmm.model.terms import INTERCEPT, Terms

MEASURES = ("post", "johnson", "marginal_r2", "conditional_r2", "icc")
COLUMNS = ["engine", "group", "measure", "estimate", "conf_low", "conf_high", "truth"]


class Component(NamedTuple):
    """A grouping factor's random effects.

    Attributes
    ----------
    group : str
        The factor.
    random : tuple of str
        Its columns of Z.
    mean_zz : (q, q) array
        Z'Z / N, original units.
    """

    group: str
    random: tuple[str, ...]
    mean_zz: np.ndarray


def measures(
    beta: np.ndarray,
    covariances: Sequence[np.ndarray],
    sigma: np.ndarray,
    factors: Sequence[Component],
    cov_fixed: np.ndarray,
) -> dict[tuple[str, str], np.ndarray]:
    """Variance explained, for one set of parameters or for many.

    With v_k = mean over the rows of z'D_k z = tr(D_k Z_k'Z_k / N), the variance of a factor's random effects, v their
    sum, and f = beta' cov(X) beta, the variance of the fixed part:

    - post: tr(D) / (tr(D) + sigma^2), as the post has it. It depends on the units of predictors.
    - johnson: v / (v + sigma^2), the random effects' share in what the fixed effects leave (adjusted ICC).
    - marginal_r2: f / (f + v + sigma^2), Nakagawa's, of the fixed effects.
    - conditional_r2: (f + v) / (f + v + sigma^2), Nakagawa's, of the whole model.
    - icc: D_00 / (sum_k D_k00 + sigma^2), the correlation of two rows that share nothing but a level of the factor,
      where every other predictor with a random effect is 0; NaN without a random intercept.

    With several factors `johnson` is there of each as well: v_k / (v + sigma^2).

    Parameters
    ----------
    beta : (..., p) array
        Fixed effects, original units.
    covariances : sequence of (..., q_k, q_k) arrays
        Covariance of each factor's random effects.
    sigma : (...) array
        Residual standard deviation.
    factors : sequence of Component
        The grouping factors.
    cov_fixed : (p, p) array
        Covariance of X's rows.

    Returns
    -------
    dict
        (group, measure) -> (...) array, each between 0 and 1. The group is empty for a measure of the whole model,
        and for all where there is one factor.

    References
    ----------
    Nakagawa & Schielzeth 2013 (Methods Ecol. Evol. 4); Johnson 2014 (Methods Ecol. Evol. 5) for slopes.
    """
    beta, noise = np.asarray(beta, float), np.asarray(sigma, float) ** 2
    traces, spreads, at_zero = [], [], []
    for D, factor in zip(covariances, factors, strict=True):
        traces.append(np.einsum("...kk->...", D))
        spreads.append(np.einsum("...kl,kl->...", D, factor.mean_zz))
        if INTERCEPT in factor.random:
            at = factor.random.index(INTERCEPT)
            at_zero.append(D[..., at, at])
        else:
            at_zero.append(np.full(noise.shape, np.nan))
    trace, random = sum(traces), sum(spreads)
    fixed = np.einsum("...a,ab,...b->...", beta, cov_fixed, beta)
    total = fixed + random + noise
    out = {
        ("", "post"): trace / (trace + noise),
        ("", "johnson"): random / (random + noise),
        ("", "marginal_r2"): fixed / total,
        ("", "conditional_r2"): (fixed + random) / total,
    }
    several = len(factors) > 1
    level = sum(np.nan_to_num(own) for own in at_zero) + noise
    for factor, spread, own in zip(factors, spreads, at_zero, strict=True):
        if several:
            out[factor.group, "johnson"] = spread / (random + noise)
        out[factor.group if several else "", "icc"] = own / level
    return out


def covariance_of(
    values: Mapping[str, Any], random: Sequence[str], named: Callable[[str], str] = str
) -> np.ndarray:
    """D of a factor from the values of tidy terms.

    Parameters
    ----------
    values : mapping
        Name -> value, a number or an array of draws. A correlation that is missing or NaN (that of an effect without
        variance) is 0.
    random : tuple of str
        Names of Z's columns.
    named : callable
        A tidy term's name in `values`; the term itself by default.

    Returns
    -------
    (..., q, q) array
    """
    sd = np.stack([np.asarray(values[named(sd_name(term))], float) for term in random], axis=-1)
    D = sd[..., :, None] * sd[..., None, :] * np.eye(len(random))
    for a, first in enumerate(random):
        for b in range(a + 1, len(random)):
            found = values.get(named(cor_name(first, random[b])), 0.0)
            cor = np.nan_to_num(np.asarray(found, float))
            D[..., a, b] = D[..., b, a] = cor * sd[..., a] * sd[..., b]
    return D


def explained(
    values: Mapping[str, Any], fixed: Sequence[str], factors: Sequence[Component], cov_fixed: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """`measures` of the values of tidy terms (see `covariance_of`); a fixed effect that is missing is NaN.

    Parameters
    ----------
    values : mapping
        Tidy term (by `tidy.variable`, where there are several factors) to value; see `covariance_of`.
    fixed : tuple of str
        Names of X's columns.
    factors : sequence of Component
        The grouping factors.
    cov_fixed : (p, p) array
        Covariance of X's rows.

    Returns
    -------
    dict
        (group, measure) to array of the values' shape.
    """
    groups = [factor.group for factor in factors]
    beta = np.stack([np.asarray(values.get(term, np.nan), float) for term in fixed], axis=-1)
    covariances = [
        covariance_of(values, factor.random, partial(_named, factor.group, groups)) for factor in factors
    ]
    return measures(beta, covariances, np.asarray(values[RESIDUAL], float), factors, cov_fixed)


def _named(group: str, groups: Sequence[str], term: str) -> str:
    return variable(group, term, groups)


def components(terms: Terms, moments: Any) -> list[Component]:
    """The grouping factors of a model, with Z'Z / N of the rows.

    Parameters
    ----------
    terms : Terms
        Of the model.
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.

    Returns
    -------
    list of Component
        In the formula's order.
    """
    return [Component(own.group, own.random, moments.mean_zz(own.random)) for own in terms.groupings]


def values_of(parameters: Any, groups: Sequence[str]) -> dict[str, float]:
    """Tidy parameters as values by `tidy.variable`.

    Parameters
    ----------
    parameters : DataFrame or Columns
        An engine's table.
    groups : sequence of str
        All grouping factors.

    Returns
    -------
    dict
    """
    keys = zip(parameters["group"], parameters["term"], parameters["estimate"], strict=True)
    return {variable(group, term, groups): float(value) for group, term, value in keys}


def true_values(
    truth: dict[str, Any] | None, fixed: Sequence[str], factors: Sequence[Any]
) -> dict[str, float]:
    """The truth as values by `tidy.variable`.

    Parameters
    ----------
    truth : dict or None
        truth.json's content.
    fixed : tuple of str
        Names of X's columns.
    factors : sequence of Component or Grouping
        Have `group` and `random`.

    Returns
    -------
    dict
    """
    groups = [factor.group for factor in factors]
    found = {name: truth_of(truth, "", name) for name in [*fixed, RESIDUAL]}
    for factor in factors:
        names = [sd_name(term) for term in factor.random]
        names += [cor_name(a, b) for i, a in enumerate(factor.random) for b in factor.random[i + 1 :]]
        found |= {variable(factor.group, name, groups): truth_of(truth, factor.group, name) for name in names}
    return found


def table(
    fits: Mapping[str, Fit],
    truth: dict[str, Any] | None,
    fixed: Sequence[str],
    factors: Sequence[Component],
    cov_fixed: np.ndarray,
) -> pd.DataFrame:
    """Variance explained by every engine that estimates random effects.

    Parameters
    ----------
    fits : mapping of Fit
        An engine that has `summary["variance_explained"]` = {measure: {estimate, conf_low, conf_high}} (of its
        posterior draws; keys by `tidy.variable`) is quoted; any other's measures are those of its estimates, without
        interval.
    truth : dict or None
        truth.json's content.
    fixed : tuple of str
        Names of X's columns.
    factors : sequence of Component
        The grouping factors.
    cov_fixed : (p, p) array
        As in `measures`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; group is empty for a measure of the whole model.
    """
    groups = [factor.group for factor in factors]
    true: Mapping[tuple[str, str], Any] = {}
    if truth is not None:
        true = explained(true_values(truth, fixed, factors), fixed, factors, cov_fixed)
    needed = {variable(f.group, sd_name(term), groups) for f in factors for term in f.random} | {RESIDUAL}
    rows = []
    for engine, fit in fits.items():
        drawn = fit.diagnostics.summary.get("variance_explained", {})
        values = values_of(fit.parameters, groups)
        if any(isinstance(value, Mapping) for value in drawn.values()):
            found = {key: drawn[name] for key in keys(groups) if (name := variable(*key, groups)) in drawn}
        elif needed <= values.keys():
            point = explained(values, fixed, factors, cov_fixed)
            found = {key: {"estimate": float(value)} for key, value in point.items()}
        else:
            continue
        rows += [
            {"engine": engine, "group": key[0], "measure": key[1], "truth": float(true.get(key, np.nan))}
            | dict(found[key])
            for key in keys(groups)
            if key in found
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def keys(groups: Sequence[str]) -> list[tuple[str, str]]:
    """(group, measure) of all measures, those of the whole model first.

    Parameters
    ----------
    groups : sequence of str
        The grouping factors.

    Returns
    -------
    list of (str, str)
    """
    if len(groups) == 1:
        return [("", measure) for measure in MEASURES]
    whole = [("", measure) for measure in MEASURES if measure != "icc"]
    return whole + [(group, measure) for measure in ("johnson", "icc") for group in groups]
