"""Estimates of marginal means, slopes and their contrasts: t statistics, or summaries of a posterior."""

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core.tidy import grid_name
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.functions import Functions
from lmm.inference.multiplicity import adjusted_p, critical


def estimates(group: Functions, fixed: FixedEffects, level: float) -> pd.DataFrame:
    """Estimates with t statistics; contrasts' p values and intervals adjusted within their families.

    Parameters
    ----------
    group : Functions
        Linear functions of the fixed effects.
    fixed : FixedEffects
        With their degrees of freedom.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        estimate, std_error, df, conf_low, conf_high, statistic, p_value, p_adjusted, behind the grid's
        columns.
    """
    estimate = group.rows @ fixed.beta + group.offset
    std_error = fixed.std_error(group.rows)
    df = fixed.df(group.rows)
    statistic = estimate / std_error
    p = 2.0 * stats.t.sf(np.abs(statistic), df)
    adjusted, reach = np.empty(len(p)), np.empty(len(p))
    for number in range(int(group.families.max()) + 1):
        at = np.flatnonzero(group.families == number)
        adjusted[at] = adjusted_p(group.adjust, statistic[at], df[at], p[at], group.means)
        reach[at] = critical(group.adjust, level, df[at], group.means)
    table = pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": std_error,
            "df": df,
            "conf_low": estimate - reach * std_error,
            "conf_high": estimate + reach * std_error,
            "statistic": statistic,
            "p_value": p,
            "p_adjusted": adjusted if group.kind == "contrast" else np.nan,
        }
    )
    return _labelled(group, table)


def summaries(group: Functions, draws: np.ndarray, level: float) -> pd.DataFrame:
    """Posterior mean, median, sd, credible interval and probability of direction; no p values.

    Parameters
    ----------
    group : Functions
        Linear functions of the fixed effects.
    draws : (S, p) array
        Posterior draws of the fixed effects.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        estimate, median, std_error, conf_low, conf_high, prob_direction, behind the grid's columns.
    """
    values = draws @ group.rows.T + group.offset
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
    table = pd.DataFrame(
        {
            "estimate": values.mean(axis=0),
            "median": np.median(values, axis=0),
            "std_error": values.std(axis=0, ddof=1),
            "conf_low": low,
            "conf_high": high,
            "prob_direction": np.maximum((values > 0.0).mean(axis=0), (values < 0.0).mean(axis=0)),
        }
    )
    return _labelled(group, table)


def _labelled(group: Functions, table: pd.DataFrame) -> pd.DataFrame:
    """A table of estimates behind its grid columns."""
    names = pd.DataFrame({"effect": group.effect, "kind": group.kind}, index=table.index)
    cells = pd.DataFrame(
        {
            grid_name(name): pd.Series(
                [_as_written(value) for value in group.cells[name]], table.index, object
            )
            for name in group.cells
        }
    )
    return pd.concat([names, cells, pd.DataFrame({"contrast": group.contrast}), table], axis=1)


def _as_written(value: object) -> object:
    """A value of a predictor as people write it: 8, which a column with other numbers or gaps makes 8.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
