"""The library from Python: fit a formula to a data frame by any engine, simulate a data frame.

Everything goes through the functions that the workflow uses; nothing is written and nothing is cached.
"""

from dataclasses import replace
from typing import Any

import pandas as pd
from pydantic import ValidationError

from lmm.config.messages import message
from lmm.config.simulation import Simulation
from lmm.config.simulation_checks import check_simulation
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.data.rows import rows_of
from lmm.engines.base import Fitted, Task
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.stage import checked, of_rows
from lmm.simulation import rows

__all__ = ["fit", "simulate"]


def fit(
    formula: str,
    data: pd.DataFrame,
    engine: str = "reml",
    *,
    conf_level: float = 0.95,
    truth: dict[str, Any] | None = None,
    cores: int = 1,
    **settings: Any,
) -> Fitted:
    """Fit a linear mixed model to a data frame.

    Parameters
    ----------
    formula : str
        lme4's, for example `Reaction ~ Days + (Days | Subject)`.
    data : DataFrame
        Response, predictors and grouping factor, without missing values; the factor may have any type.
    engine : str
        A row of the catalogue: ols, mixedlm, reml or pymc.
    conf_level : float
        Level of every interval.
    truth : dict, optional
        What `simulate` returned beside the data: the tables then have it in the column `truth`.
    cores : int
        Chains sampled at a time.
    **settings
        The engine's keys of the configuration, such as `chains=2` or `priors={"sd": "half_normal(1)"}`.

    Returns
    -------
    Fitted
        `parameters` and `ranef` (tidy tables), `diagnostics`, and `posterior` (ArviZ's DataTree, else None).

    Raises
    ------
    StudyError
        The formula, a setting or the data cannot be used.
    """
    if engine not in engines.ENGINES:
        raise StudyError("engine", f"'{engine}'; expected one of {', '.join(engines.ENGINES)}")
    row, parsed = engines.row(engine), parse(formula)
    for column in parsed.variables:
        if column not in data.columns:
            raise StudyError("data", f"column '{column}' is missing; expected {', '.join(parsed.variables)}")
        if (count := int(data[column].isna().sum())) > 0:
            raise StudyError("data", f"column '{column}' has {count} missing values; expected none")
    own = _validated(row.settings_class(), settings).plain() | {"conf_level": conf_level, "formula": formula}
    labels = {name for columns in parsed.keys for name in columns} - set(parsed.predictors)
    data = data[list(parsed.variables)].assign(**{name: data[name].astype(str) for name in labels})
    design = build(parsed, data)
    moments = of_rows(design, data)
    (design,) = checked(moments, [design], {"sources": ["data"]}, "drop")
    task = Task(
        moments=moments,
        rows=lambda: rows_of(design, data),
        truth=truth,
        cores=cores,
    )
    found = row.load().Fitter(own, design.terms).fit(task)
    return replace(found, fit=found.fit.noting(design.terms.dropped))


def simulate(formula: str, seed: int = 1, **design: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Simulate a data frame from a formula and its parameters.

    Parameters
    ----------
    formula : str
        Response, plain predictors, one grouping factor.
    seed : int
    **design
        Keys of `simulate` in the configuration: groups, rows_per_group or rows, fixed, sd, corr, sigma, predictors.

    Returns
    -------
    data : DataFrame
    truth : dict
        What the data were simulated from, and the random effects that were drawn.

    Raises
    ------
    StudyError
        The design cannot be simulated.
    """
    parsed, settings = parse(formula), _validated(Simulation, {"seed": seed, **design})
    check_simulation(settings, parsed, "simulate")
    return rows.simulate(settings, parsed)


def _validated(model: Any, settings: dict[str, Any]) -> Any:
    """Settings as their model, or one message."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        where, what = message(error, settings)
        raise StudyError(".".join(map(str, where)) or "settings", what) from None
