"""What a study plans before any replicate, in the order of ADEMP (Morris et al. 2019).

A plan is built-in types alone: all that the results follow from, and nothing that they do not depend on (cores,
chunks, labels).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lmm.config.designs import SINGLE
from lmm.config.load import Study
from lmm.config.simulation import Poisson, Predictor, Shape, Simulation, Sizes
from lmm.core.words import as_cell
from lmm.model.design import numeric_design
from lmm.model.terms import Terms
from lmm.recovery.grid import STATUSES, USABLE
from lmm.simulation.truth import fixed, sds

# Measures by what they are of; each comes with its Monte Carlo standard error.
PARAMETERS = (
    "bias", "relative_bias", "empirical_se", "mse", "rmse", "model_se", "model_se_error", "coverage",
    "bias_eliminated_coverage", "width", "relative_precision",
)  # fmt: skip
FIXED, SD, FITS = ("power", "type_1_error"), ("p_zero",), ("failure_rate", "singular_rate")
RANDOM = ("ranef_rmse", "ranef_coverage", "ranef_shrinkage", "ranef_rank_correlation")
# The numbers of each distribution.
NUMBERS: dict[type, dict[str, tuple[str, ...]]] = {
    Predictor: {
        "normal": ("mean", "sd"), "uniform": ("low", "high"), "binary": ("p",), "sequence": ("start", "step"),
        "latin_square": ("conditions",),
    },
    Shape: {"student": ("df",), "skewed": ("shape",)},
}  # fmt: skip


def protocol(study: Study, replicates: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a study with replicates.

    Parameters
    ----------
    study : Study
        Of `lmm.config.load`.
    replicates : mapping
        Settings of the replicates' stage: seed, simulate_from, calibration, bootstrap, engines, record.

    Returns
    -------
    dict
        The keys of `deviations.PARTS`.
    """
    own = study.settings.plain()
    aims, count = own.get("aims", []), study.settings.replicates
    engines = {name: dict(settings) for name, settings in replicates["engines"].items()}
    seeds = {name: settings.pop("seed") for name, settings in engines.items() if "seed" in settings}
    for settings in engines.values():
        # the level is stated once; where an optimiser starts and which draws are kept change no result
        for key in ("conf_level", "exact_start", "keep_draws"):
            settings.pop(key, None)
    full = replicates["record"] == "full"
    unused = [status for status in STATUSES if status not in USABLE]
    generator = study.simulate.generator if study.simulate else "numpy"
    return {
        "title": study.title,
        "aims": [aims] if isinstance(aims, str) else aims,
        "data": _data(study, replicates),
        "estimands": _estimands(study, full),
        "methods": {"conf_level": study.settings.conf_level, "engines": engines},
        "measures": _measures(study, full),
        "replicates": {"at_most": count, "until": list(study.until)} if study.until else {"each": count},
        "seeds": {"data": replicates["seed"], "generator": generator} | seeds,
        "failures": {"used": list(USABLE), "not_used": unused, "redrawn": False},
        "rationale": {key: said for key, said in own.get("rationale", {}).items() if said},
    }


def _data(study: Study, replicates: Mapping[str, Any]) -> dict[str, Any]:
    """Where data sets come from: designs with all their values, or the user's files."""
    drawn = {"formula": study.formula.text, "drawn_as": replicates["simulate_from"]}
    if study.simulate is None:
        return drawn | {"parameters": replicates["bootstrap"], "files": list(study.data)}
    terms, priors = numeric_design(study.formula).terms, replicates["calibration"]
    designs = {point.key: _design(point.settings, terms, study.formula.predictors) for point in study.designs}
    if priors:  # their values stand for nothing
        designs = {
            key: {name: value for name, value in own.items() if name not in ("fixed", "sd", "corr", "sigma")}
            for key, own in designs.items()
        }
    return drawn | {"parameters": "priors" if priors else "designs", "designs": designs}


def _design(settings: Simulation, terms: Terms, predictors: Sequence[str]) -> dict[str, Any]:
    """A design's settings with the values that stand where nothing is said, distributions as text."""
    out = {key: value for key, value in settings.plain().items() if key not in SINGLE}
    out |= {"fixed": fixed(settings, terms), "groups": out.get("groups", settings.n_groups)}
    if terms.several:
        out["sd"] = {one.group: sds(settings.of_factor(one.group), terms.of(one)) for one in terms.groupings}
    else:
        out["sd"] = sds(settings, terms)
    if settings.rows is None:
        each = settings.group_rows
        drawn = f"poisson({each.poisson:g})" if isinstance(each, Poisson) else each
        out["rows_per_group"] = as_cell(each.plain()) if isinstance(each, Sizes) else drawn
    own = {name: settings.predictors.get(name, Predictor()) for name in predictors}
    out["predictors"] = {name: _distribution(how) for name, how in own.items()}
    return out | {name: _distribution(getattr(settings, name)) for name in ("random_effects", "errors")}


def _distribution(how: Predictor | Shape) -> str:
    """`normal(0, 1)`, `student(5)`, `binary(0.5), between groups`."""
    own = NUMBERS[type(how)].get(how.distribution, ())
    numbers = ", ".join(f"{getattr(how, name):g}" for name in own)
    said = f"{how.distribution}({numbers})" if own else how.distribution
    between = getattr(how, "between", False)
    where = "groups" if between is True else f"levels of {between}"
    return f"{said}, between {where}" if between else said


def _estimands(study: Study, full: bool) -> dict[str, Any]:
    others = ["variance explained", "random effects of each replicate"] if full else []
    if study.simulate is None:  # the columns of own data are known when they have been read
        return {"of": study.formula.text, "others": others}
    terms = numeric_design(study.formula).terms
    pairs = {
        one.group: [
            f"{first}.{second}"
            for block in one.blocks
            for k, first in enumerate(block)
            for second in block[k + 1 :]
        ]
        for one in terms.groupings
    }
    return {
        "fixed": list(terms.fixed),
        "sd": {one.group: list(one.random) for one in terms.groupings} | {"Residual": ["Observation"]},
        "corr": {group: found for group, found in pairs.items() if found},
        "others": others,
    }


def _measures(study: Study, full: bool) -> list[str]:
    found = [*PARAMETERS, *FIXED, *SD, *FITS]
    if study.record == "sums":
        found.remove("bias_eliminated_coverage")
    calibrated = ["ranks of the true values"] if study.settings.calibration else []
    return [*found, *RANDOM * full, *calibrated]
