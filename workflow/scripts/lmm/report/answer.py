"""The answer: cards and sentences that come before everything else."""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from lmm.comparison.engines import verdict
from lmm.core import engines
from lmm.core.tidy import RESIDUAL, variable
from lmm.core.words import (
    capital,
    estimated,
    given,
    in_errors,
    label,
    listed,
    number,
    p_said,
    p_value,
    percent,
    places,
    uncapital,
    with_error,
)
from lmm.report import interest
from lmm.report.card import Card
from lmm.report.interest import Interest
from lmm.report.text.fits import ROUNDING
from lmm.results.labels import INTERCEPT, factors
from lmm.results.study import Results

MOST_CARDS, MOST_SENTENCES, MOST_TESTS = 4, 4, 2


def interval_name(results: Results, engine: str | None) -> str:
    """`95 % CI`, `95 % CrI` of draws."""
    kind = "CrI" if engine in engines.of_family(results.fits, engines.BAYES) else "CI"
    return f"{results.level} {kind}"


def answers(results: Results) -> list[Card]:
    """Cards of the answer: effects of interest, the variances, the engines' agreement."""
    shown = [one for one in interest.interests(results) if one.lead(results)]
    found = [_effect(results, one) for one in shown[:MOST_CARDS]]
    found += [_variances(results) if results.truth else _components(results), _agreement(results)]
    return [card for card in found if card is not None]


def _effect(results: Results, one: Interest) -> Card:
    lead = one.lead(results)
    row = one.rows[lead]
    if one.kind == "test":
        said = f"{p_said(p_value(row['p_value']))} ({label(lead)}, type III)"
        return Card(f"effect:{one.key}", "plain", one.title, interest.value(one, row), (("plain", said),))
    inner = (
        ""
        if one.kind == "mean"
        else interest.statistic(row)
        + (", adjusted" if one.adjusted and "p " in interest.statistic(row) else "")
    )
    about = f"{interval_name(results, lead)} {interest.interval(row)}{f'; {inner}' * bool(inner)}"
    lines = [("plain", f"{label(lead)}: {about}")]
    alike = [name for name in interest.mixed_rows(results, one) if name != lead]
    share, worst = interest.apart(results, one)
    if alike and share < interest.AGREE:
        lines.append(
            ("good", f"{listed([label(name) for name in alike])}: the same within {in_errors(share)}")
        )
    elif worst:
        other = one.rows[worst]
        lines.append(
            (
                "warn",
                f"{label(worst)}: {_brief(other)}, {in_errors(share)} from {label(lead)}",
            )
        )
    if results.pooled in one.rows and results.pooled != lead:
        lines.append(
            ("plain", f"{label(results.pooled)}, groups ignored: {_brief(one.rows[results.pooled])}")
        )
    truth = _true(results, one)
    if truth is not None:
        inside = row["conf_low"] <= truth <= row["conf_high"]
        lines.append(
            (
                "good" if inside else "warn",
                f"true value {given(truth)}{'' if inside else ', outside the interval'}",
            )
        )
    tone = "warn" if any(tone == "warn" for tone, _ in lines) else "plain"
    return Card(f"effect:{one.key}", tone, one.title, interest.value(one, row), tuple(lines))


def _brief(row) -> str:
    """`10.5 (8.0 to 12.9)`."""
    return f"{estimated(row['estimate'], interest.decimals_of(row))} ({interest.interval(row)})"


def _true(results: Results, one: Interest) -> float | None:
    """The value simulated from of an effect that is a fixed effect of its own; None where there is none."""
    fixed = (results.truth or {}).get("fixed") or {}
    name = one.key.partition("|")[0]
    if one.kind not in ("slope", "term", "mean") or name not in fixed:
        return None
    joint = [term for term in fixed if name in term.split(":") and term != name]
    return None if joint else float(fixed[name])


def _variances(results: Results) -> Card | None:
    found: dict[tuple[str, str], list[str]] = {}  # tone and text to engines: alike fits are said once
    judged, held = 0, 0
    for engine, fit in sorted(results.fits.items(), key=lambda item: item[0] == results.pooled):
        mine = fit.parameters[fit.parameters["effect"] == "ran_pars"]
        if engine == results.pooled:
            sigma, truth = results.estimate(engine, RESIDUAL), results.truth["sigma"]
            said = f"has no group variances; residual SD {number(sigma)} for a true {given(truth)}"
            found["plain", said] = [engine]
            continue
        if not len(mine) or fit.diagnostics.status == engines.UNIDENTIFIED:
            found.setdefault(("bad", fit.diagnostics.status), []).append(engine)
            continue
        low, high, truth = (mine[c].to_numpy(float) for c in ("conf_low", "conf_high", "truth"))
        known = np.isfinite(low + high + truth)
        inside = known & (low <= truth) & (truth <= high)
        off = [error for row in mine.to_dict("records") if np.isfinite(error := relative_error(row))]
        worst = max(off, key=abs, default=np.nan)
        error = f"; largest relative error {percent(worst)}" if np.isfinite(worst) else ""
        judged, held = judged + known.sum(), held + inside.sum()
        tone, said = "plain", f"no intervals{error}"
        if known.any():
            tone = "good" if inside.sum() == known.sum() else "warn"
            missed = mine.loc[known & ~inside, ["group", "term"]].to_records(index=False)
            names = listed(
                [results.labels.parameter(term) + results.by_group(group) for group, term in missed]
            )
            said = (
                f"{inside.sum()} of {known.sum()} intervals contain the true value"
                f"{f' (not: {names})' * bool(names)}{error}"
            )
        found.setdefault((tone, said), []).append(engine)
    lines = [(tone, f"{listed(list(map(label, names)))}: {said}") for (tone, said), names in found.items()]
    title = "Were the variances recovered?"
    lost = any(fit.diagnostics.status == engines.UNIDENTIFIED for fit in results.fits.values())
    if not judged:
        tone, value = ("bad", "not identified") if lost else ("plain", "not judged")
        return Card("variances", tone, title, value, tuple(lines))
    tone = "bad" if lost or held < judged / 2 else "good" if held == judged else "warn"
    value = "yes" if held == judged and not lost else f"{held} of {judged} intervals"
    return Card("variances", tone, title, value, tuple(lines))


def _components(results: Results) -> Card | None:
    if results.leading not in results.mixed:
        return None
    alike: dict[str, list[str]] = {}
    for engine in results.mixed:
        parts = []
        for group, term in results.components:
            if not term.startswith("sd__"):
                continue
            row = results.parameter(engine, group, term)
            if row:
                name = "residual" if term == RESIDUAL else results.labels.term(term.removeprefix("sd__"))
                decimals = sd_places(row)
                if engine not in engines.of_family(
                    [engine], engines.BAYES
                ):  # one optimum: one number of decimals
                    decimals = sd_places(results.parameter(results.leading, group, term) or row)
                parts.append(f"{name}{results.by_group(group)} {_sd(row, decimals)}")
        said = ", ".join(parts)
        alike.setdefault(said, []).append(label(engine))
    lines = [("plain", f"SDs by {listed(names)}: {said}") for said, names in alike.items()]
    share, value = results.explained(results.leading).get("johnson"), "–"
    if share is not None:
        value = f"{percent(share, 0)} between groups"
        if set(results.fixed(results.leading)) - {INTERCEPT}:
            lines.insert(0, ("plain", "of the variance that the fixed effects leave"))
    if results.fits[results.leading].diagnostics.status == engines.UNIDENTIFIED:
        return Card("variances", "bad", "Where the variance is", "not identified", tuple(lines))
    return Card("variances", "plain", "Where the variance is", value, tuple(lines))


def _sd(row, decimals: int | None) -> str:
    """A standard deviation; one of a singular fit as the 0 that it is."""
    said = estimated(row["estimate"], decimals)
    return said if said.strip("0.") else "0"


def sd_said(row) -> str:
    """A standard deviation with decimals by its standard error, or by its interval's width."""
    return _sd(row, sd_places(row))


def relative_error(row) -> float:
    """An sd's error relative to its true value; NaN where that is not as far from 0 as the estimate is uncertain."""
    quarter = (row["conf_high"] - row["conf_low"]) / 4  # not the standard error, which only some engines give
    if not str(row["term"]).startswith("sd__") or not row["truth"] > np.nan_to_num(quarter):
        return np.nan
    return row["estimate"] / row["truth"] - 1


def sd_places(row) -> int | None:
    """Decimals of an sd or correlation, by its standard error; of a correlation two at least, for it is below 1."""
    found = places(sd_error(row))
    return max(found, 2) if found is not None and str(row.get("term", "")).startswith("cor__") else found


def sd_error(row) -> float:
    """The standard error of an sd or correlation, else a quarter of its interval; NaN without either."""
    error = row.get("std_error", np.nan)
    if np.isfinite(error) and error > 0:
        return error
    return (row.get("conf_high", np.nan) - row.get("conf_low", np.nan)) / 4


def _agreement(results: Results) -> Card | None:
    """Whether engines with random effects agree on the fixed effects and on every group's effects."""
    if len(results.mixed) < 2:
        return None
    lines, shares = [], []
    far = [interest.apart(results, one) for one in interest.interests(results) if one.kind != "test"]
    far = [one for one in far if one[1]]
    if far:
        share, worst = max(far)
        shares.append(share)
        lines.append(
            (
                "plain" if share < interest.AGREE else "warn",
                f"effects: {'at most ' if share >= 0.001 else ''}{in_errors(share)} apart",
            )
        )
    largest = verdict(results.fits, results.tables.get("ranef_differences"), results.conf_level)[
        "ranef_difference"
    ]
    if largest and results.pair is not None:
        first, second = (label(name) for name in results.pair)
        keys = {
            variable(own.group, term, results.groups): (own, term)
            for own in results.by_factor
            for term in own.random_terms
        }
        for key, found in largest.items():
            own, term = keys[key]
            error = own.typical_error(term)
            share = abs(found["difference"]) / error if error > 0 else np.nan
            shares.append(share)
            small = f" ({in_errors(share)})" if np.isfinite(share) else ""
            which = f"random effects of {results.labels.term(term)}{results.by_group(own.group)}"
            size = abs(found["difference"])
            said = f"at most {number(size, 2) if found['mcse'] is None else with_error(size, found['mcse'])}{small}"
            if found["mcse"] is None and share < ROUNDING:  # two optimisers of one criterion: rounding
                said = in_errors(share)
            tone = "warn" if np.isfinite(share) and share >= interest.AGREE else "plain"
            lines.append((tone, f"{which}, {first} − {second}: {said}"))
    known = [share for share in shares if np.isfinite(share)]
    if not lines or not known:
        return None
    worst = max(known)
    tone = "good" if worst < interest.AGREE else "warn"
    value = "yes" if tone == "good" else f"up to {number(worst, 2)} SE apart"
    return Card("differences", tone, "Do the engines agree?", value, tuple(lines))


# ---- in words


def sentences(results: Results) -> list[str]:
    """The answer in words: effects, the groups' spread around them, how many more effects there are."""
    shown = [one for one in interest.interests(results) if one.lead(results)]
    tests = [one for one in shown if one.kind == "test"][:MOST_TESTS]
    others = [one for one in shown if one.kind != "test"][: MOST_SENTENCES - len(tests)]
    said = [_sentence(results, one) for one in (*tests, *others)]
    if results.leading is not None and results.leading == results.pooled and results.groups:
        said.append(
            f"{label(results.leading)} ignores the groups: intervals and p values hold only if rows of one group are "
            "as independent as others."
        )
    said += _spread(results)
    more = len(shown) - MOST_CARDS
    if more > 0:
        said.append(f"{more} more {'effect is' if more == 1 else 'effects are'} in the tables below.")
    return said


def _sentence(results: Results, one: Interest) -> str:
    lead = one.lead(results)
    row, response = one.rows[lead], results.labels.column(results.response)
    if one.kind == "test":
        a, b = one.words[0], listed(list(one.words[1:]))
        evidence = row["p_value"] < 1 - results.conf_level
        said = (
            f"The effect of {a} depends on {b}"
            if evidence
            else f"There is no evidence that {a} and {b} interact"
        )
        return f"{said} ({interest.value(one, row)}, {p_said(p_value(row['p_value']))})."
    decimals, unit = interest.decimals_of(row), results.labels.unit(results.response)
    value, up = row["estimate"], row["estimate"] >= 0
    size = estimated(abs(value), decimals) + (f" {unit}" if unit else "")
    inside = f"{interval_name(results, lead)} {interest.interval(row)}"
    open_ = row["conf_low"] <= 0 <= row["conf_high"]
    end = "; the interval includes 0" if open_ else "; the interval excludes 0"
    if one.kind == "mean":
        shown = estimated(value, decimals) + (f" {unit}" if unit else "")
        return f"The {uncapital(one.title)} is {shown} ({inside})."
    where = listed(
        [f"{results.labels.column(k)} = {results.labels.level(k, v)}" for k, v in one.cells.items()]
    )
    there = [f"at {where}"] * bool(where) + [interest.averaged(results, one)]
    where = capital("".join(f"{part}, " for part in there if part))
    if one.kind == "contrast" and one.words[2] and not one.title.startswith("Effect of"):
        _, a, b = one.words
        way, named = "higher" if up else "lower", interval_name(results, lead)
        sizes = _sizes(row, "{} lower", "{} higher", f"{{}} to {{}} {way}")
        return f"{where}{response} is {size} {way} at {a} than at {b} ({named} {sizes}){end}."
    if one.kind == "slope":
        per = one.unit.partition(" per ")[2] or "unit"
        sizes = _sizes(row, "a decrease of {}", "an increase of {}", "{} to {}")
        return (
            f"{where}{response} {'increases' if up else 'decreases'} by {size} when {one.words[0]} increases by one "
            f"{per} ({interval_name(results, lead)} {sizes}){end}."
        )
    return f"{one.title} is {estimated(value, decimals)} ({inside}){end}."


def _sizes(row: Mapping[str, float], down: str, up: str, alike: str) -> str:
    """An interval's ends as sizes in the sentence's direction; each with its direction where 0 is between them."""
    decimals = interest.decimals_of(row)
    low, high = row["conf_low"], row["conf_high"]
    first, last = (estimated(abs(end), decimals) for end in (low, high))
    if low <= 0 <= high:
        return f"{down.format(first)} to {up.format(last)}"
    return alike.format(first, last) if low > 0 else alike.format(last, first)


def _within(results: Results, engine: str, row: Mapping[str, float]) -> str:
    """The interval of a standard deviation, in parentheses, and that the fit is singular where it is 0."""
    said = []
    if np.isfinite(row["conf_low"] + row["conf_high"]):
        low, high = (estimated(row[side], sd_places(row)) for side in ("conf_low", "conf_high"))
        said.append(f"{interval_name(results, engine)} {low} to {high}")
    said += ["the fit is singular"] if row["estimate"] == 0 else []
    return f" ({'; '.join(said)})" if said else ""


def _spread(results: Results) -> list[str]:
    """How much the groups differ, and how far their own slopes spread around the mean slope."""
    lead = results.leading
    if lead not in results.mixed:
        return []
    said, z = [], NormalDist().inv_cdf((1 + results.conf_level) / 2)
    fixed = results.fixed(lead)
    for group, term in results.components:
        name, row = term.removeprefix("sd__"), results.parameter(lead, group, term)
        if not term.startswith("sd__") or term == RESIDUAL or not row:
            continue
        named = results.labels.column(group)
        if name == INTERCEPT:
            residual = results.parameter(lead, "Residual", RESIDUAL)
            first = (
                f", the residual SD {sd_said(residual)}"
                if not any("residual SD" in one for one in said)
                else ""
            )
            said.append(
                f"The SD between levels of {named} is {sd_said(row)}{_within(results, lead, row)}{first}."
            )
            continue
        joint = any(name in factors(other) and name != other for other in fixed)
        begin = (
            f"Between levels of {named} the effect of {results.labels.term(name)} has an SD of {sd_said(row)}"
            f"{_within(results, lead, row)}"
        )
        if name not in fixed or joint:
            said.append(f"{begin}.")
            continue
        half, middle = z * row["estimate"], fixed[name]
        error = results.estimate(lead, name, "std_error")  # an end has the errors of mean and SD
        decimals = places(float(np.hypot(error, z * sd_error(row))))
        ends = f"{estimated(middle - half, decimals)} and {estimated(middle + half, decimals)}"
        said.append(f"{begin}: about {results.level} of them have an effect between {ends}.")
    return said
