"""The verdict cards: what a reader must know before anything else, computed once for page and summary.json."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.comparison.engines import verdict
from lmm.core.engines import UNIDENTIFIED
from lmm.core.tidy import RESIDUAL, variable
from lmm.core.words import counted, error_size, gate, given, in_errors, label, listed, number, percent
from lmm.report.text import criticism
from lmm.report.text.fits import optimum, status
from lmm.results.study import Results

MARKS = {"good": "✓", "bad": "✗", "warn": "!", "plain": "·"}


@dataclass(frozen=True)
class Card:
    """A verdict: `tone` is good, warn, bad or plain; `lines` are (tone, text)."""

    key: str
    tone: str
    title: str
    value: str
    lines: tuple[tuple[str, str], ...] = ()

    @property
    def mark(self) -> str:
        """The tone as a sign: colour alone does not reach everyone."""
        return MARKS[self.tone]

    def plain(self) -> dict[str, Any]:
        """As built-in types, for summary.json: lines without their tones."""
        found = {name: getattr(self, name) for name in ("key", "tone", "title", "value")}
        return found | {"lines": [text for _, text in self.lines]}


def cards(results: Results) -> list[Card]:
    """Cards of a study, the most important first."""
    found = [
        _variances(results),
        _gates(results),
        _optimum(results),
        _differences(results),
        _checks(results),
        _trouble(results),
    ]
    return [card for card in found if card is not None]


def _variances(results: Results) -> Card | None:
    if not results.truth:
        return _components(results)
    lines, judged, held = [], 0, 0
    for engine, fit in results.fits.items():
        mine = fit.parameters[(fit.parameters["effect"] == "ran_pars")]
        if engine == "ols":
            sigma, truth = results.estimate("ols", RESIDUAL), results.truth["sigma"]
            lines.append(
                (
                    "plain",
                    f"OLS: has no group variances; residual sd {number(sigma)} for a true {given(truth)}",
                )
            )
            continue
        if not len(mine) or fit.diagnostics.status == UNIDENTIFIED:
            lines.append(("bad", f"{label(engine)}: {fit.diagnostics.status}"))
            continue
        low, high, truth = (mine[c].to_numpy(float) for c in ("conf_low", "conf_high", "truth"))
        known = np.isfinite(low + high + truth)
        inside = known & (low <= truth) & (truth <= high)
        sds = mine["term"].str.startswith("sd__").to_numpy() & (np.nan_to_num(truth) > 0)
        off = mine["estimate"].to_numpy(float)[sds] / truth[sds] - 1
        worst = off[np.argmax(np.abs(off))] if len(off) else np.nan
        error = f"; largest relative error {percent(worst)}" if np.isfinite(worst) else ""
        judged, held = judged + known.sum(), held + inside.sum()
        if known.any():
            tone = "good" if inside.sum() == known.sum() else "warn"
            lines.append(
                (tone, f"{label(engine)}: {inside.sum()} of {known.sum()} intervals contain the truth{error}")
            )
        else:
            lines.append(("plain", f"{label(engine)}: no intervals{error}"))
    lost = any(fit.diagnostics.status == UNIDENTIFIED for fit in results.fits.values())
    if not judged:
        tone, value = ("bad", "not identified") if lost else ("plain", "not judged")
        return Card("variances", tone, "Variances recovered?", value, tuple(lines))
    tone = "bad" if lost or held < judged / 2 else "good" if held == judged else "warn"
    value = "yes" if held == judged and not lost else f"{held} of {judged} intervals"
    return Card("variances", tone, "Variances recovered?", value, tuple(lines))


def _components(results: Results) -> Card | None:
    if results.main is None:
        return None
    lines = []
    for engine in results.mixed:
        sds = [
            f"{_of(results, own, t)} {number(own.estimate(engine, f'sd__{t}'))}"
            for own in results.by_factor
            for t in own.random_terms
        ]
        lines.append(
            (
                "plain",
                f"{label(engine)}: {listed(sds)}, residual {number(results.estimate(engine, RESIDUAL))}",
            )
        )
    share = results.tables.get("variance_explained")
    value = "–"
    if share is not None:
        whole = (share["measure"] == "johnson") & (share["group"] == "")
        found = share[(share["engine"] == results.main) & whole]["estimate"]
        value = percent(float(found.iloc[0])) + " in the random effects" if len(found) else value
        if len(found) and set(results.fixed(results.main)) - {"Intercept"}:
            lines.append(("plain", "share of what the fixed effects leave, mean over rows"))
    if results.fits[results.main].diagnostics.status == UNIDENTIFIED:
        return Card("variances", "bad", "Where the variance is", "not identified", tuple(lines))
    return Card("variances", "plain", "Where the variance is", value, tuple(lines))


def _of(results: Results, own: Results, term: str) -> str:
    """A random effect's term, and its factor where there are several."""
    return f"{term} of {own.group}" if len(results.by_factor) > 1 else term


def _gates(results: Results) -> Card | None:
    if "pymc" not in results.fits:
        return None
    gates = results.fits["pymc"].diagnostics.gates
    if not gates:
        return Card("gates", "bad", "Convergence gates", "no fit", (("bad", status(results, "pymc")),))
    failed = [gate for gate in gates if not gate["passed"]]
    shown = failed or gates[:3]
    lines = [
        (
            "bad" if failed else "good",
            f"{g['name']}: {gate(g['value'], g['limit'])} (limit {given(g['limit'])})",
        )
        for g in shown
    ]
    value = f"{len(gates) - len(failed)} of {len(gates)} passed"
    return Card("gates", "bad" if failed else "good", "Convergence gates", value, tuple(lines))


def _optimum(results: Results) -> Card | None:
    said = optimum(results)
    if not said:
        return None
    gap = results.fits["mixedlm"].diagnostics.summary["reml_gap"]
    tone = "good" if gap["reached"] else "warn"
    lines = [
        ("plain", f"criterion off by {error_size(gap['criterion'])}"),
        ("plain", f"sd's off by {error_size(gap['sd'])} (relative)"),
    ]
    return Card(
        "optimum", tone, "MixedLM at the REML optimum?", "yes" if gap["reached"] else "no", tuple(lines)
    )


def _differences(results: Results) -> Card | None:
    largest = verdict(results.fits, results.tables.get("ranef_differences"), results.conf_level)[
        "ranef_difference"
    ]
    if not largest or results.pair is None:
        return None
    first, second = (label(name) for name in results.pair)
    lines, shares = [], []
    keys = {
        variable(own.group, term, results.groups): (own, term)
        for own in results.by_factor
        for term in own.random_terms
    }
    for name, found in largest.items():
        own, term = keys[name]
        noise = f" ± {number(found['mcse'], 1)}" if found["mcse"] is not None else ""
        error = own.typical_error(term)
        share = abs(found["difference"]) / error if error > 0 else np.nan
        shares.append(share)
        small = f" ({in_errors(share)})" if np.isfinite(share) else ""
        said = f"{_of(results, own, term)}: {number(abs(found['difference']), 2)}{noise}{small}"
        lines.append(("plain", said))
    tone = "plain" if not np.isfinite(shares).any() else "good" if np.nanmax(shares) < 0.1 else "warn"
    value = listed([number(abs(found["difference"]), 2) for found in largest.values()])
    return Card("differences", tone, f"Largest ranef difference, {first} − {second}", value, tuple(lines))


def _checks(results: Results) -> Card | None:
    """Predictive check, cross-validation and prior sensitivity of the Bayesian fit."""
    table, about = results.tables.get("predictive"), results.notes.get("criticism")
    if table is None or not about or not len(table):
        return None
    far = criticism.outside(results)
    level = results.level
    inside = (
        f"{len(table) - len(far)} of {len(table)} statistics within the {level} posterior predictive interval"
    )
    lines = [("good" if criticism.by_chance(far) else "warn", inside)]
    if about["loo"]:
        high, good = len(about["loo"]["high"]), number(about["loo"]["good_k"], 2)
        said = f"largest Pareto k {number(about['loo']['largest_k'], 2)} (limit {good})"
        lines.append(
            ("warn" if high else "good", f"{counted(high, 'group')} above Pareto k {good}" if high else said)
        )
    leaning = results.tables.get("sensitivity")
    if leaning is not None and len(leaning):
        count = int((leaning["diagnosis"].fillna("") != "").sum())
        lines.append(("warn" if count else "good", f"{count} of {len(leaning)} estimates prior-sensitive"))
    odd = [tone for tone, _ in lines if tone != "good"]
    value = "yes" if not odd else f"{len(odd)} of {len(lines)} checks to look at"
    return Card("checks", "warn" if odd else "good", "Does the model fit the data?", value, tuple(lines))


def _trouble(results: Results) -> Card | None:
    lines = [
        ("bad" if fit.diagnostics.status == "error" else "warn", status(results, name))
        for name, fit in results.fits.items()
        if fit.diagnostics.status not in ("ok", "gate-failed")
    ]
    if not lines:
        return None
    return Card("fits", "warn", "Fits to look at", counted(len(lines), "fit"), tuple(lines))


def headline(results: Results) -> dict:
    """Verdicts and headline numbers of a study as plain types, for summary.json."""
    found = verdict(results.fits, results.tables.get("ranef_differences"), results.conf_level)
    estimates = {
        name: {
            variable(group, term, results.groups): float(value)
            for group, term, value in zip(
                *(fit.parameters[c] for c in ("group", "term", "estimate")), strict=True
            )
        }
        for name, fit in results.fits.items()
    }
    return {
        "title": results.title,
        "formula": results.settings.get("formula"),
        "rows": results.data["rows"],
        "groups": results.data.get("groups", {own.group: own.data["groups"] for own in results.by_factor}),
        "conf_level": results.conf_level,
        "cards": [card.plain() for card in cards(results)],
        "verdict": found,
        "criticism": results.notes.get("criticism"),
        "predictions": results.notes.get("predictions"),
        "estimates": estimates,
        "truth": {
            k: v
            for k, v in (results.truth or {}).items()
            if k in ("fixed", "sd", "corr", "sigma", "realised")
        }
        or None,
    }
