"""How much of the variance a mixed model explains: the post's ratio, and measures that have no unit.

Everything follows from beta, D, sigma and two matrices of the design, Z'Z / N and the covariance of X's rows;
so the same functions serve an estimate, the truth and every draw of a posterior (leading axes). See
docs/statistics.md, section 12.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import RESIDUAL, Fit, cor_name, sd_name, truth_of

MEASURES = ("post", "johnson", "marginal_r2", "conditional_r2", "icc")
COLUMNS = ["engine", "measure", "estimate", "conf_low", "conf_high", "truth"]


def measures(
    beta: np.ndarray,
    D: np.ndarray,
    sigma: np.ndarray,
    mean_zz: np.ndarray,
    cov_fixed: np.ndarray,
    intercept: int | None,
) -> dict[str, np.ndarray]:
    """Variance explained, for one set of parameters or for many.

    With v = mean over the rows of z'Dz = tr(D Z'Z / N), the variance of the random part, and
    f = beta' cov(X) beta, that of the fixed part:

    - post: tr(D) / (tr(D) + sigma^2), as the post has it. It depends on the units of predictors.
    - johnson: v / (v + sigma^2), the random effects' share in what the fixed effects leave (adjusted ICC).
    - marginal_r2: f / (f + v + sigma^2), Nakagawa's, of the fixed effects.
    - conditional_r2: (f + v) / (f + v + sigma^2), Nakagawa's, of the whole model.
    - icc: D_00 / (D_00 + sigma^2), the correlation of two rows of a group where every other predictor with a
      random effect is 0; NaN without a random intercept.

    Parameters
    ----------
    beta : (..., p) array
        Fixed effects, original units.
    D : (..., q, q) array
        Covariance of the random effects.
    sigma : (...) array
        Residual standard deviation.
    mean_zz : (q, q) array
        Z'Z / N.
    cov_fixed : (p, p) array
        Covariance of X's rows.
    intercept : int or None
        Position of the random intercept in D.

    Returns
    -------
    dict
        Measure -> (...) array, each between 0 and 1.

    References
    ----------
    Nakagawa & Schielzeth 2013 (Methods Ecol. Evol. 4); Johnson 2014 (Methods Ecol. Evol. 5) for slopes.
    """
    beta, D, noise = np.asarray(beta, float), np.asarray(D, float), np.asarray(sigma, float) ** 2
    trace = np.einsum("...kk->...", D)
    random = np.einsum("...kl,kl->...", D, mean_zz)
    fixed = np.einsum("...a,ab,...b->...", beta, cov_fixed, beta)
    total = fixed + random + noise
    at_zero = np.full(noise.shape, np.nan) if intercept is None else D[..., intercept, intercept]
    return {
        "post": trace / (trace + noise),
        "johnson": random / (random + noise),
        "marginal_r2": fixed / total,
        "conditional_r2": (fixed + random) / total,
        "icc": at_zero / (at_zero + noise),
    }


def components(values: Mapping[str, float], fixed: Sequence[str], random: Sequence[str]) -> tuple:
    """beta, D and sigma from the values of tidy terms.

    Parameters
    ----------
    values : mapping
        Tidy term -> value (a number or an array of draws). A correlation that is missing or NaN (that of an
        effect without variance) is 0, a fixed effect that is missing is NaN.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.

    Returns
    -------
    tuple
        beta (..., p), D (..., q, q), sigma (...).
    """
    beta = np.stack([np.asarray(values.get(term, np.nan), float) for term in fixed], axis=-1)
    sd = np.stack([np.asarray(values[sd_name(term)], float) for term in random], axis=-1)
    D = sd[..., :, None] * sd[..., None, :] * np.eye(len(random))
    for a, first in enumerate(random):
        for b in range(a + 1, len(random)):
            cor = np.nan_to_num(np.asarray(values.get(cor_name(first, random[b]), 0.0), float))
            D[..., a, b] = D[..., b, a] = cor * sd[..., a] * sd[..., b]
    return beta, D, np.asarray(values[RESIDUAL], float)


def explained(
    values: Mapping[str, float],
    fixed: Sequence[str],
    random: Sequence[str],
    mean_zz: np.ndarray,
    cov_fixed: np.ndarray,
) -> dict[str, np.ndarray]:
    """`measures` of the values of tidy terms (see `components`).

    Parameters
    ----------
    values : mapping
        Tidy term to value, see `components`.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    mean_zz : (q, q) array
        Z'Z / N.
    cov_fixed : (p, p) array
        Covariance of X's rows.

    Returns
    -------
    dict
        Measure to array of the values' shape.
    """
    random = list(random)
    intercept = random.index("Intercept") if "Intercept" in random else None
    beta, D, sigma = components(values, fixed, random)
    return measures(beta, D, sigma, mean_zz, cov_fixed, intercept)


def table(
    fits: Mapping[str, Fit],
    truth: dict[str, Any] | None,
    fixed: Sequence[str],
    random: Sequence[str],
    mean_zz: np.ndarray,
    cov_fixed: np.ndarray,
    group: str = "",
) -> pd.DataFrame:
    """Variance explained by every engine that estimates random effects.

    Parameters
    ----------
    fits : mapping of Fit
        An engine that has `summary["variance_explained"]` = {measure: {estimate, conf_low, conf_high}} (of
        its posterior draws) is quoted; any other's measures are those of its estimates, without interval.
    truth : dict or None
        truth.json's content.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    mean_zz, cov_fixed : arrays
        As in `measures`.
    group : str
        The grouping factor.

    Returns
    -------
    DataFrame
        Columns engine, measure, estimate, conf_low, conf_high, truth.
    """
    true: Mapping[str, Any] = dict.fromkeys(MEASURES, np.nan)
    if truth is not None:
        names = [*fixed, *map(sd_name, random), RESIDUAL]
        names += [cor_name(a, b) for i, a in enumerate(random) for b in random[i + 1 :]]
        true = explained(
            {name: truth_of(truth, group, name) for name in names}, fixed, random, mean_zz, cov_fixed
        )
    rows = []
    for engine, fit in fits.items():
        drawn = fit.diagnostics.summary.get("variance_explained") or {}
        values = dict(zip(fit.parameters["term"], fit.parameters["estimate"], strict=True))
        if any(isinstance(value, Mapping) for value in drawn.values()):
            found = drawn
        elif {*map(sd_name, random), RESIDUAL} <= values.keys():
            point = explained(values, fixed, random, mean_zz, cov_fixed)
            found = {measure: {"estimate": float(value)} for measure, value in point.items()}
        else:
            continue
        rows += [
            {"engine": engine, "measure": measure, "truth": float(true[measure])} | dict(found[measure])
            for measure in MEASURES
            if measure in found
        ]
    return pd.DataFrame(rows, columns=COLUMNS)
