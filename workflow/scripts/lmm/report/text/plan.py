"""The plan of a study with replicates in sentences: part after part of ADEMP, and why so many replicates."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from lmm.core.tidy import pair_of
from lmm.core.words import capital, counted, fixed, given, label, listed, number, percent
from lmm.recovery.deviations import PARTS, leaves
from lmm.report.text.recording import wanted
from lmm.results.replicated import axis_name, axis_value

MOST = 12  # values of a factor that are written out
MEASURES = {
    "relative_bias": "relative bias", "empirical_se": "empirical SE", "mse": "MSE", "rmse": "RMSE",
    "model_se": "model-based SE", "model_se_error": "relative error of the model-based SE",
    "bias_eliminated_coverage": "bias-eliminated coverage", "width": "interval width",
    "relative_precision": "precision against a reference engine", "type_1_error": "Type I error",
    "p_zero": "share of SDs estimated as 0", "failure_rate": "failure rate", "singular_rate": "rate of singular fits",
    "ranef_rmse": "RMSE of the random effects", "ranef_coverage": "coverage of the random effects",
    "ranef_shrinkage": "shrinkage of the random effects",
    "ranef_rank_correlation": "rank correlation of the random effects with the true ones",
}  # fmt: skip


# What a machine cannot know, and the configuration's key for it.
WORDS = {
    "aims": "the aims beyond the title", "data": "why these data-generating mechanisms and values",
    "methods": "why these methods and settings", "measures": "why these performance measures",
}  # fmt: skip


def parts(plan: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """ADEMP's parts, seeds and failures, each with its sentences.

    Parameters
    ----------
    plan : mapping
        Of `lmm.recovery.protocol.protocol`.
    """
    why = {key: [f"Reason: {words(plan, key)}"] if words(plan, key) else [] for key in WORDS}
    made = {
        "aims": [
            f"Title: {plan['title']}{'' if plan['title'].endswith(('.', '?', '!')) else '.'}",
            *plan["aims"],
        ],
        "data": [*data(plan), *why["data"]],
        "estimands": [estimands(plan)],
        "methods": [*methods(plan), *why["methods"]],
        "measures": [measures(plan), *why["measures"]],
        "replicates": justified(plan),
        "seeds": [seeds(plan)],
        "failures": [failures(plan)],
    }
    return [(PARTS[key], said) for key, said in made.items()]


def words(plan: Mapping[str, Any], key: str) -> str:
    """What the author says of one of `WORDS`; empty where nothing is said."""
    return " ".join(plan["aims"]) if key == "aims" else plan["rationale"].get(key, "")


def wanting(plan: Mapping[str, Any]) -> list[str]:
    """What the author has not said, with the key to say it under."""
    keys = {key: "aims" if key == "aims" else f"rationale.{key}" for key in WORDS}
    return [f"{capital(WORDS[key])} (key: {keys[key]})." for key in WORDS if not words(plan, key)]


def data(plan: Mapping[str, Any]) -> list[str]:
    """Data-generating mechanisms: what they have in common, and what varies."""
    own = plan["data"]
    drawn = (
        "row by row"
        if own["drawn_as"] == "rows"
        else "as sums of squares and products (moments) of their rows"
    )
    if "files" in own:
        source = "the posterior" if own["parameters"] == "posterior" else "REML's estimates"
        files = listed(own["files"]) if len(own["files"]) <= MOST else counted(len(own["files"]), "file")
        return [
            f"Data sets are drawn from {own['formula']} with parameters from {source} of the study's own data "
            f"({files}), on their own design matrix (parametric bootstrap)."
        ]
    designs = [{path: axis_value(value) for path, value in leaves(one)} for one in own["designs"].values()]
    said = [
        f"Data sets are simulated from a parametric model, {own['formula']}, {drawn}, in "
        f"{counted(len(designs), 'design')}."
    ]
    paths = list(dict.fromkeys(path for design in designs for path in design))
    levels = {path: list(dict.fromkeys(design.get(path, "none") for design in designs)) for path in paths}
    varied = {path: values for path, values in levels.items() if len(values) > 1}
    if varied:
        count = 1
        for values in varied.values():
            count *= len(values)
        how = "every combination of them" if count == len(designs) else "some combinations of them"
        how = how if len(varied) > 1 else "one design each"
        factors = [f"{_path(path)} {_values(values)}" for path, values in varied.items()]
        said.append(f"Varied: {'; '.join(factors)} ({how}).")
    shown = [f"{_path(path)} {values[0]}" for path, values in levels.items() if len(values) == 1]
    said.append(f"{'The same in all designs' if varied else 'Values'}: {'; '.join(shown)}.")
    if own["parameters"] == "priors":
        said.append("Fixed effects and variance parameters are drawn from PyMC's priors for each replicate.")
    return said


def _path(path: tuple[str, ...]) -> str:
    """A setting in words: `sd of x`, `rows per group`."""
    return axis_name("__".join([path[0], ".".join(path[1:])]) if len(path) > 1 else path[0])


def _values(values: list[str]) -> str:
    return (
        listed(values) if len(values) <= MOST else f"{len(values):,} values from {values[0]} to {values[-1]}"
    )


def estimands(plan: Mapping[str, Any]) -> str:
    """What is estimated."""
    own = plan["estimands"]
    if "of" in own:
        found = [f"the fixed effects, standard deviations and correlations of {own['of']}"]
        return f"{capital(listed([*found, *own['others']]))}."
    found = [f"fixed effects ({', '.join(own['fixed'])})"] if own["fixed"] else []
    for group, terms in own["sd"].items():
        found.append(
            "the residual SD"
            if group == "Residual"
            else f"SDs between levels of {group} ({', '.join(terms)})"
        )
    for group, pairs in own["corr"].items():
        terms = [" and ".join(pair_of(f"cor__{pair}")) for pair in pairs]
        found.append(f"correlations between levels of {group} ({', '.join(terms)})")
    return f"{capital(listed([*found, *own['others']]))}."


def methods(plan: Mapping[str, Any]) -> list[str]:
    """The engines with all their settings."""
    own, said = plan["methods"], []
    for name, settings in own["engines"].items():
        values = {path: value for path, value in leaves(settings) if path != ("formula",)}
        shown = [f"{' '.join(path)} {_setting(value)}" for path, value in values.items()]
        model = settings["formula"]
        said.append(f"{label(name)}: {model}{'; ' if shown else ''}{', '.join(shown)}.")
    return [
        *said,
        f"Intervals at {percent(own['conf_level'], 0 if own['conf_level'] * 100 % 1 == 0 else 2)}.",
    ]


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return (
        given(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value).lower()
    )


def measures(plan: Mapping[str, Any]) -> str:
    """Performance measures by name."""
    found = capital(listed([MEASURES.get(name, name) for name in plan["measures"]]))
    return f"{found}; each with its Monte Carlo standard error (formulas: docs/statistics.md, section 6)."


def justified(plan: Mapping[str, Any]) -> list[str]:
    """The number of replicates and the Monte Carlo errors that it gives."""
    own, level = plan["replicates"], plan["methods"]["conf_level"]
    count = own.get("each") or own["at_most"]
    each = "of each design" if len(plan["data"].get("designs", ())) > 1 else "of the design"
    if "files" in plan["data"]:
        each = "of the study's own data"
    said = []
    if "until" in own:
        said.append(
            f"Batches of replicates {each} until Monte Carlo standard errors are small enough "
            f"({listed([wanted(criterion) for criterion in own['until']])}), at most {count:,}."
        )
    else:
        said.append(f"{counted(count, 'replicate')} {each}.")
    covers, worst = (100 * sqrt(share * (1 - share) / count) for share in (level, 0.5))
    errors = (
        f"With {count:,} replicates, the Monte Carlo standard error of a coverage of {100 * level:g} % is "
        f"{number(covers, 2)} percentage points, that of any share at most {number(worst, 2)} percentage points, and "
        f"that of a bias {fixed(100 / sqrt(count), 1)} % of the empirical SE"
    )
    if count > 1:
        errors += f"; that of the empirical SE is about {fixed(100 / sqrt(2 * (count - 1)), 1)} % of it"
    return [*said, f"{errors}."]


def seeds(plan: Mapping[str, Any]) -> str:
    """Seeds, and what makes a replicate's random numbers its own."""
    own = dict(plan["seeds"])
    data_seed, generator = own.pop("data"), own.pop("generator")
    kind = "R's generator" if generator == "r" else "NumPy's PCG64"
    engines = [f"{label(name)} {seed}" for name, seed in own.items()]
    said = f"Seed of the data sets: {data_seed} ({kind}; a stream of its own for each design and replicate)."
    return f"{said} Seed of the sampler: {listed(engines)}." if engines else said


def failures(plan: Mapping[str, Any]) -> str:
    """What becomes of fits that did not end well."""
    own = plan["failures"]
    return (
        f"Fits that end {listed(own['used'], 'or')} are used. Fits that end {listed(own['not_used'], 'or')} are "
        "counted by engine and design, not used and not redrawn. Every measure is computed over all usable fits of "
        "an engine and, beside it, over the replicates that every engine managed."
    )
