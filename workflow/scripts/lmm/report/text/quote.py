"""The results in APA style, as a paragraph that a paper can quote."""

import re

import numpy as np

from lmm.core import engines
from lmm.core.tidy import RESIDUAL
from lmm.core.words import capital, counted, estimated, label, listed, p_said, p_value
from lmm.report import interest
from lmm.report.answer import interval_name, sd_places
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
            f"A linear model of {response} was fitted by {_by(results, lead)} to {counted(rows, 'observation')}"
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
        f"A linear mixed model of {response} with {listed(parts)} was fitted by {_by(results, lead)} to "
        f"{counted(rows, 'observation')} of {levels}{f' ({lost})' * bool(lost)}."
    )


def _by(results: Results, engine: str) -> str:
    """How an engine fits: `restricted maximum likelihood (REML)`; of draws and others the engine's name."""
    if engine == results.pooled:
        return "ordinary least squares"
    if not engines.belongs(engine, engines.EXACT, engines.LIKELIHOOD):
        return f"{label(engine)} (Bayesian)" if engine == results.bayes else label(engine)
    ml = results.fits[engine].diagnostics.method == "ML"
    return "maximum likelihood (ML)" if ml else "restricted maximum likelihood (REML)"


def _bounded(value: float | None, decimals: int | None) -> str:
    """A number that cannot exceed 1, without the zero before the point, as APA style has it."""
    return re.sub(r"^(−?)0(?=\.)", r"\1", estimated(value, decimals))


def _apa(results: Results, lead: str, one: interest.Interest) -> str:
    row = one.rows[lead]
    decimals = interest.decimals_of(row)
    inner = "" if one.kind == "mean" else interest.statistic(row)  # that a mean is 0 is no question
    ends = f"[{estimated(row['conf_low'], decimals)}, {estimated(row['conf_high'], decimals)}]"
    return f"{interval_name(results, lead)} {ends}{f', {inner}' * bool(inner)}"


def _effects(results: Results, lead: str) -> list[str]:
    parts, tests, adjusted = [], [], False
    for one in interest.interests(results):
        if lead not in one.rows:
            continue
        row = one.rows[lead]
        if one.kind == "test":
            tests.append(f"{one.title}, {interest.value(one, row)}, {p_said(p_value(row['p_value']))}")
            continue
        adjusted |= one.adjusted and len(parts) < MOST
        parts.append(_said(results, lead, one))
    if not parts + tests:
        return []
    more = f" (and {len(parts) - MOST} more, see the table)" if len(parts) > MOST else ""
    bayes = engines.belongs(lead, engines.BAYES)  # whose intervals are not
    note = ["Confidence intervals and p of contrasts are adjusted for several comparisons."]
    said = [
        f"{capital('; '.join(shown))}{end}." for shown, end in ((tests, ""), (parts[:MOST], more)) if shown
    ]
    return said + note * (adjusted and not bayes)


def _said(results: Results, engine: str, one: interest.Interest) -> str:
    """`Effect of x, b = 0.47, 95 % CI [0.28, 0.66], t(97.7) = 4.82, p < .001`."""
    row, where = one.rows[engine], interest.averaged(results, one)
    sign = {"mean": "M", "contrast": "difference"}.get(one.kind, "b")
    title = f"{one.title} ({where})" if where else one.title
    return f"{title}, {sign} = {interest.value(one, row)}, {_apa(results, engine, one)}"


def _components(results: Results, lead: str) -> list[str]:
    parts = []
    for group, term in results.components:
        row = results.parameter(lead, group, term)
        if not row:
            continue
        decimals, write = sd_places(row), _bounded if term.startswith("cor__") else estimated
        ends = ""
        if np.isfinite(row["conf_low"] + row["conf_high"]):
            low, high = (write(row[side], decimals) for side in ("conf_low", "conf_high"))
            ends = f" [{low}, {high}]"
        name = results.labels.parameter(term) + results.by_group(group)
        name = name if name.startswith("SD") else name[0].lower() + name[1:]
        parts.append(f"{name} = {write(row['estimate'], decimals)}{ends}")
    singular = " The fit is singular." if results.fits[lead].diagnostics.singular else ""
    return [f"Variance components: {'; '.join(parts)}.{singular}"] if parts else []


def _explained(results: Results, lead: str) -> list[str]:
    found = results.explained(lead)
    names = {"johnson": "ICC", "marginal_r2": "marginal R²", "conditional_r2": "conditional R²"}
    if not set(results.fixed(lead)) - {INTERCEPT}:
        names = {"johnson": "ICC"}
    parts = [f"{text} = {_bounded(found[name], 3)}" for name, text in names.items() if name in found.index]
    return [f"{capital(', '.join(parts))}."] if parts else []


def _second(results: Results, lead: str) -> list[str]:
    """The Bayesian fit beside another engine's."""
    bayes = results.bayes
    if bayes not in results.mixed or bayes == lead:
        return []
    shown = [one for one in interest.interests(results) if one.kind != "test"][:MOST]
    parts = [_said(results, bayes, one) for one in shown if bayes in one.rows]
    return [f"By Bayesian inference with {label(bayes)}: {'; '.join(parts)}."] if parts else []
