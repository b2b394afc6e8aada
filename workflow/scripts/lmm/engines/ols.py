"""Ordinary least squares: the whole of R's `summary(lm)`.

Few rows go through statsmodels, many through their moments; the numbers are the same.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from lmm.core import engines
from lmm.core.columns import Columns
from lmm.core.errors import StudyError
from lmm.core.tidy import PARAMETERS, QUANTILES, RESIDUAL, Diagnostics, Fit, truth_of
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.model.terms import Terms

ENGINE = "ols"
# Beyond this many rows the sums say the same as the rows do, and only the residuals' quantiles are lost.
ROWS_LIMIT = 1_000_000


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.fixed = settings["conf_level"], terms.fixed

    def fit(self, task: Task) -> Fitted:
        """From the rows where they are at hand and few, else from moments."""
        data: tuple[np.ndarray, ...] = ()
        if task.rows is not None and task.moments.n_rows <= ROWS_LIMIT and not task.moments.weighted:
            rows = task.rows()
            data = (rows.y, rows.columns(self.fixed))
        return Fitted(fit(self.fixed, *data, moments=task.moments, conf_level=self.level, truth=task.truth))


def fit(
    fixed: Sequence[str],
    y: np.ndarray | None = None,
    X: np.ndarray | None = None,
    *,
    moments: Any = None,
    n_groups: int | None = None,
    conf_level: float = 0.95,
    truth: dict[str, Any] | None = None,
) -> Fit:
    """Least squares of y on X, from the rows (statsmodels) or from their moments.

    Parameters
    ----------
    fixed : sequence of str
        Names of X's p columns; R's rule for an intercept is that one of them is called `Intercept`.
    y, X : (N,) and (N, p) arrays, optional
        The rows. Without them `moments` is needed.
    moments : Moments, optional
        Used when there are no rows; the residual quantiles are then left out, and `summary` says so.
    n_groups : int, optional
        Recorded in the diagnostics; taken from `moments` where these are given.
    conf_level : float
        Level of the t intervals of the coefficients and of the chi-squared interval of sigma.
    truth : dict, optional
        truth.json's content.

    Returns
    -------
    Fit
        Coefficients, and the residual standard error as `sd__Observation`; no random effects.
        `diagnostics["summary"]` has what R prints. F is None for a model with nothing but an intercept.

    Raises
    ------
    StudyError
        The fixed effects are collinear, or there are no more rows than coefficients.

    References
    ----------
    R's `summary.lm`: without an intercept, R^2 and F compare with y = 0 instead of y = mean(y).
    """
    started = time.perf_counter()
    fixed = list(fixed)
    if X is not None and y is not None:
        # half a second, which replicates from moments need not wait; statsmodels.api takes twice as long
        from statsmodels.regression.linear_model import OLS

        n_rows = len(y)
        _check(fixed, n_rows, X)
        result = OLS(y, X, hasconst="Intercept" in fixed).fit(method="qr")
        beta, cov_unscaled, rss = result.params, result.normalized_cov_params, result.ssr
        tss = result.centered_tss if "Intercept" in fixed else result.uncentered_tss
        quantiles, left_out = np.quantile(result.resid, QUANTILES).tolist(), {}
    else:
        n_rows = moments.n_rows
        _check(fixed, n_rows)
        try:
            summary = moments.ols(tuple(fixed))
        except np.linalg.LinAlgError as error:
            raise _collinear(fixed) from error
        beta, cov_unscaled, rss = summary.beta, summary.cov_unscaled, summary.rss
        tss = summary.tss if "Intercept" in fixed else summary.tss_uncentred
        quantiles = None
        left_out = {"residual_quantiles": "fitted from moments: the rows were not read again"}
    if moments is not None:
        n_groups = moments.n_groups
    numbers = _summary(fixed, np.asarray(beta), np.asarray(cov_unscaled), float(rss), float(tss), n_rows)
    parameters = _parameters(numbers, conf_level, truth)
    diagnostics = Diagnostics(
        ENGINE,
        seconds={"fit": time.perf_counter() - started},
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=n_rows,
        n_groups=n_groups,
        conf_level=conf_level,
        intervals={"fixed": "t", "ran_pars": "chi-squared"},
        summary=numbers
        | {
            "residual_quantiles": quantiles,
            "left_out": left_out,
            "source": "rows" if X is not None else "moments",
        },
    )
    return Fit(ENGINE, parameters, None, diagnostics)


def _check(fixed: list[str], n_rows: int, X: np.ndarray | None = None) -> None:
    """Refuse what has no least-squares solution with a residual standard error."""
    names = ", ".join(fixed)
    if n_rows <= len(fixed):
        what = f"{n_rows} rows cannot carry {len(fixed)} fixed effects ({names})"
        raise StudyError("formula", f"{what}; expected more rows")
    # of the columns scaled to length 1, not of X'X, which would take a narrow x far from 0 for constant
    if X is not None:
        length = np.linalg.norm(X, axis=0)
        if not length.all() or np.linalg.matrix_rank(X / length) < len(fixed):
            raise _collinear(fixed)


def _collinear(fixed: list[str]) -> StudyError:
    what = f"the fixed effects {', '.join(fixed)} are collinear in these data"
    return StudyError("formula", f"{what}; expected independent columns")


def _summary(
    fixed: list[str], beta: np.ndarray, cov_unscaled: np.ndarray, rss: float, tss: float, n_rows: int
) -> dict[str, Any]:
    """R's `summary.lm` from (X'X)^-1, the residual and the total sum of squares."""
    n_fixed, intercept = len(fixed), int("Intercept" in fixed)
    df = n_rows - n_fixed
    sigma2 = rss / df
    se = np.sqrt(sigma2 * np.diag(cov_unscaled))
    t = beta / se
    p = 2 * special.stdtr(df, -np.abs(t))
    df_model = n_fixed - intercept
    r2 = 1 - rss / tss if df_model else 0.0
    f = (tss - rss) / df_model / sigma2 if df_model else None
    return {
        "coefficients": [
            {"term": term, "estimate": b, "std_error": s, "statistic": ti, "p_value": pi}
            for term, b, s, ti, pi in zip(
                fixed, beta.tolist(), se.tolist(), t.tolist(), p.tolist(), strict=True
            )
        ],
        "sigma": float(np.sqrt(sigma2)),
        "df_resid": df,
        "r2": r2,
        "adj_r2": 1 - (1 - r2) * (n_rows - intercept) / df,
        "f": f,
        "f_df": [df_model, df] if df_model else None,
        "f_p": float(special.fdtrc(df_model, df, f)) if df_model else None,
    }


def _parameters(numbers: dict[str, Any], conf_level: float, truth: dict[str, Any] | None) -> Columns:
    """The tidy table: t intervals for the coefficients, the chi-squared interval for sigma."""
    df, tail, rows = numbers["df_resid"], (1 - conf_level) / 2, numbers["coefficients"]
    terms, sigma = [*(row["term"] for row in rows), RESIDUAL], numbers["sigma"]
    names = ("estimate", "std_error", "statistic", "p_value")
    estimate, error, statistic, p = (np.array([*(row[name] for row in rows), np.nan]) for name in names)
    reach = special.stdtrit(df, 1 - tail) * error
    low, high = estimate - reach, estimate + reach
    estimate[-1] = sigma
    low[-1], high[-1] = sigma * np.sqrt(df / (2 * special.gammaincinv(df / 2, [1 - tail, tail])))
    columns = {
        "engine": [ENGINE] * len(terms),
        "effect": [*["fixed"] * len(rows), "ran_pars"],
        "group": [*[""] * len(rows), "Residual"],
        "term": terms,
        "estimate": estimate,
        "std_error": error,
        "statistic": statistic,
        "df": np.array([*[float(df)] * len(rows), np.nan]),
        "p_value": p,
        "conf_low": low,
        "conf_high": high,
        "truth": [truth_of(truth, "", term) for term in terms],
    }
    return Columns({name: columns[name] for name in PARAMETERS})
