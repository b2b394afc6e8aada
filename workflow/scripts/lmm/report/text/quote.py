"""The results in APA style, as a paragraph that a paper can quote."""

import numpy as np

from lmm.core import engines
from lmm.core.tidy import RESIDUAL
from lmm.core.words import capital, counted, estimated, fixed, label, listed, p_said, p_value
from lmm.report import interest
from lmm.report.answer import sd_places
from lmm.report.text.fits import dropped
from lmm.results.labels import INTERCEPT
from lmm.results.study import Results

MOST = 5  # effects in a paragraph


def results_paragraph(results: Results) -> str:
    """Sample, effects, variance components and variance explained; empty without a fit."""
    lead = results.leading
    if lead is None:
        return ""
    said = [_sample(results, lead), *_effects(results, lead)]
    if lead in results.mixed:
        said += [*_components(results, lead), *_explained(results, lead), *_second(results, lead)]
    return " ".join(said)


def _sample(results: Results, lead: str) -> str:
    rows, labels = results.data["rows"], results.labels
    lost = dropped(results)
    response = labels.column(results.response)
    if lead not in results.mixed:
        return (
            f"A linear model of {response} was fitted by {label(lead)} to {counted(rows, 'observation')}"
            f"{f' ({lost})' * bool(lost)}."
        )
    by: dict[str, list[str]] = {}
    for group, term in results.components:
        if term.startswith("sd__") and term != RESIDUAL:
            by.setdefault(group, []).append(term.removeprefix("sd__"))
    parts = []
    for group, terms in by.items():
        slopes = listed([labels.term(term) for term in terms if term != INTERCEPT])
        kinds = ["random intercepts"] * (INTERCEPT in terms) + [f"random slopes of {slopes}"] * bool(slopes)
        parts.append(f"{listed(kinds)} for {labels.column(group)}")
    levels = listed(
        [f"{own.data['groups']:,} levels of {labels.column(own.group)}" for own in results.by_factor]
    )
    return (
        f"A linear mixed model of {response} with {listed(parts)} was fitted by {label(lead)} to "
        f"{counted(rows, 'observation')} of {levels}{f' ({lost})' * bool(lost)}."
    )


def _apa(results: Results, lead: str, row) -> str:
    decimals = interest.decimals_of(row)
    kind = "CrI" if lead in engines.of_family([lead], engines.BAYES) else "CI"
    inner = interest.statistic(row)
    ends = f"[{estimated(row['conf_low'], decimals)}, {estimated(row['conf_high'], decimals)}]"
    return f"{results.level} {kind} {ends}{f', {inner}' * bool(inner)}"


def _effects(results: Results, lead: str) -> list[str]:
    parts, adjusted = [], False
    for one in interest.interests(results):
        if lead not in one.rows:
            continue
        row = one.rows[lead]
        if one.kind == "test":
            parts.append(f"{one.title}, {interest.value(one, row)}, {p_said(p_value(row['p_value']))}")
            continue
        sign = "M" if one.kind == "mean" else "b"
        adjusted |= one.adjusted and len(parts) < MOST
        parts.append(f"{one.title}, {sign} = {interest.value(one, row)}, {_apa(results, lead, row)}")
    if not parts:
        return []
    more = f" (and {len(parts) - MOST} more, see the table)" if len(parts) > MOST else ""
    note = ["Intervals and p of contrasts are adjusted for several comparisons."] if adjusted else []
    return [f"{capital('; '.join(parts[:MOST]))}{more}.", *note]


def _components(results: Results, lead: str) -> list[str]:
    parts = []
    for group, term in results.components:
        row = results.parameter(lead, group, term)
        if not row:
            continue
        decimals = sd_places(row)
        ends = ""
        if np.isfinite(row["conf_low"] + row["conf_high"]):
            low, high = (estimated(row[side], decimals) for side in ("conf_low", "conf_high"))
            ends = f" [{low}, {high}]"
        name = results.labels.parameter(term) + results.by_group(group)
        name = name if name.startswith("SD") else name[0].lower() + name[1:]
        parts.append(f"{name} = {estimated(row['estimate'], decimals)}{ends}")
    singular = " The fit is singular." if results.fits[lead].diagnostics.singular else ""
    return [f"Variance components: {'; '.join(parts)}.{singular}"] if parts else []


def _explained(results: Results, lead: str) -> list[str]:
    found = results.explained(lead)
    names = {"johnson": "ICC", "marginal_r2": "marginal R²", "conditional_r2": "conditional R²"}
    parts = [f"{text} = {fixed(found[name], 2)}" for name, text in names.items() if name in found.index]
    return [f"{capital(', '.join(parts))}."] if parts else []


def _second(results: Results, lead: str) -> list[str]:
    """The Bayesian fit beside another engine's."""
    bayes = results.bayes
    if bayes not in results.mixed or bayes == lead:
        return []
    parts = []
    for one in interest.interests(results)[:MOST]:
        if bayes in one.rows and one.kind != "test":
            row = one.rows[bayes]
            sign = "M" if one.kind == "mean" else "b"
            parts.append(f"{one.title}, {sign} = {interest.value(one, row)}, {_apa(results, bayes, row)}")
    return [f"In a Bayesian fit by {label(bayes)}: {'; '.join(parts)}."] if parts else []
