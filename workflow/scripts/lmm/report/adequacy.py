"""Is the model adequate? Checks of the fits and of the model; for each that fails, what it means and what to do."""

from lmm.core.engines import UNIDENTIFIED
from lmm.core.words import counted, given, label, listed, number
from lmm.core.words import gate as measured
from lmm.report.card import Card
from lmm.report.text import criticism
from lmm.report.text import fits as text
from lmm.results.study import Results

FEW = 5  # groups; from fewer the SD between them is hardly known (Gelman and Hill 2007)
ADVICE = {
    "singular": "The data do not determine this variance or correlation. Fixed effects remain valid; intervals of "
    "the variance are one-sided. Next: leave the term out of the random effects{}.",
    UNIDENTIFIED: "Many values of the variances explain the data equally well. Next: remove a random effect, or add "
    "rows that tell the effects apart.",
    "non-converged": "The optimiser stopped before an optimum: do not report its estimates. Next: rescale "
    "the predictors, simplify the random effects, or report another engine.",
    "gate-failed": "The draws do not represent the posterior. Next: more warm-up and draws (tune, draws), a higher "
    "target_accept, or tighter priors; until then report another engine.",
    "error": "There are no results of this engine. Next: read its message in the log; the other engines are "
    "unaffected.",
    "skipped": "There are no results of this engine; the other engines are unaffected.",
}


def checks(results: Results) -> list[Card]:
    """All checks that the engines of the study allow, fits first."""
    found = [
        _fits(results),
        _few(results),
        *(_optimum(results, name) for name in results.others),
        _errors(results),
        _gates(results),
        _predictive(results),
        _loo(results),
        _influence(results),
        _sensitivity(results),
    ]
    return [card for card in found if card is not None]


def _lines(tone: str, said: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple((tone, sentence) for sentence in said)


def _fits(results: Results) -> Card | None:
    """How the fits ended."""
    if not results.fits:
        return None
    title = "Did every fit end well?"
    states = {name: fit.diagnostics.status for name, fit in results.fits.items()}
    off = {name: state for name, state in states.items() if state not in ("ok", "gate-failed")}
    if not off:
        said = f"{listed([label(name) for name in states])} ended ok."
        return Card("fits", "good", title, "yes", (("plain", said),))
    lines = tuple(
        ("bad" if state == "error" else "warn", text.status(results, name)) for name, state in off.items()
    )
    several = any(len(own.random_terms) > 1 for own in results.by_factor)
    other = ", or write || instead of |" if several else ""
    advice = tuple(dict.fromkeys(ADVICE[state].format(other) for state in off.values() if state in ADVICE))
    return Card("fits", "warn", title, f"{len(off)} of {counted(len(states), 'fit')} did not", lines, advice)


def _few(results: Results) -> Card | None:
    """Whether a between-group SD rests on very few groups."""
    few = [own for own in results.by_factor if results.mixed and own.data["groups"] < FEW]
    if not few:
        return None
    counts = listed([f"{own.data['groups']} levels of {results.labels.column(own.group)}" for own in few])
    said = f"A standard deviation between so few groups is hardly known: {counts}."
    advice = (
        "Rely on its interval, not on its estimate; a Bayesian one depends on the prior. Next: collect more groups, "
        "or take the factor as a fixed effect, if no others are of interest.",
    )
    return Card("few", "warn", "Are there enough groups?", "no", (("warn", said),), advice)


def _optimum(results: Results, engine: str) -> Card | None:
    """Whether another optimiser reached the certified optimum."""
    said = text.optimum(results, engine)
    if not said:
        return None
    reached = results.fits[engine].diagnostics.summary["reml_gap"]["reached"]
    advice = (
        () if reached or results.exact is None else (f"Report {label(results.exact)}'s estimates instead.",)
    )
    return Card(
        "optimum",
        "good" if reached else "warn",
        f"Is {label(engine)} at the optimum?",
        "yes" if reached else "no",
        (("plain", said),),
        advice,
    )


def _errors(results: Results) -> Card | None:
    """Standard errors that differ from those of generalised least squares."""
    for engine in results.others:
        if said := text.standard_errors(results, engine):
            advice = (f"Report the standard errors of {label(results.exact)}.",)
            title = f"Are {label(engine)}'s standard errors right?"
            return Card("errors", "warn", title, "no", (("warn", said),), advice)
    return None


def _gates(results: Results) -> Card | None:
    if results.bayes is None:
        return None
    title, gates = (
        f"Did the sampler of {label(results.bayes)} converge?",
        results.fits[results.bayes].diagnostics.gates,
    )
    if not gates:
        return Card("gates", "bad", title, "no fit", (("bad", text.status(results, results.bayes)),))
    failed = [gate for gate in gates if not gate["passed"]]
    lines = [
        ("bad", f"{g['name']}: {measured(g['value'], g['limit'])} (limit {given(g['limit'])})")
        for g in failed
    ]
    lines += list(_lines("plain", text.bayes(results)))
    value = f"{len(gates) - len(failed)} of {len(gates)} gates passed"
    advice = (ADVICE["gate-failed"],) if failed else ()
    return Card("gates", "bad" if failed else "good", title, value, tuple(lines), advice)


def _predictive(results: Results) -> Card | None:
    """Whether replicated data look like the data."""
    table = results.tables.get("predictive")
    if table is None or not results.notes.get("criticism"):
        return None
    title, said = "Do data from the model resemble the data?", criticism.predictive(results)
    if not len(table):
        return Card("predictive", "plain", title, "not checked", _lines("plain", said)) if said else None
    far = criticism.outside(results)
    good = criticism.by_chance(far)
    value = "yes" if good else f"{len(far)} of {len(table)} statistics do not"
    advice = () if good else (
        "The model misses this feature of the data, and inferences that rest on it are doubtful. Next: look at the "
        "residuals and at each group's rows, then transform the response, add a predictor or add a random slope.",
    )  # fmt: skip
    return Card("predictive", "good" if good else "warn", title, value, _lines("plain", said), advice)


def _loo(results: Results) -> Card | None:
    """Whether cross-validation by group is reliable."""
    about = results.notes.get("criticism")
    if not about:
        return None
    title, said = "Can groups be predicted from the others?", criticism.loo(results)
    if not about["loo"]:
        return Card("loo", "plain", title, "not checked", _lines("plain", said)) if said else None
    high, good = len(about["loo"]["high"]), number(about["loo"]["good_k"], 2)
    value = f"{counted(high, 'group')} above Pareto k {good}" if high else "yes"
    advice = (
        "These groups shape the posterior more than others. Next: check their rows; refit without them and compare.",
    )
    return Card(
        "loo", "warn" if high else "good", title, value, _lines("plain", said), advice if high else ()
    )


def _influence(results: Results) -> Card | None:
    """Whether a single group moves an estimate."""
    said = [sentence for own in results.by_factor for sentence in criticism.influence(own)]
    if not said:
        return None
    title, table = "Does a single group drive the results?", results.tables.get("influence")
    if table is None or table.empty:
        return Card("influence", "plain", title, "not checked", _lines("plain", said))
    keys = [name for name in ("group", "level") if name in table]
    large = len(table.loc[table["standardised"].abs() > 1.0, keys].drop_duplicates())
    advice = (
        "Without such a group the conclusion could be another. Next: check its rows, and report the results with and "
        "without it.",
    )
    value = f"{counted(large, 'group')} may" if large else "no"
    return Card(
        "influence", "warn" if large else "good", title, value, _lines("plain", said), advice if large else ()
    )


def _sensitivity(results: Results) -> Card | None:
    """Whether estimates depend on the priors."""
    table, about = results.tables.get("sensitivity"), results.notes.get("criticism")
    if not about:
        return None
    title, said = "Do the priors drive the results?", criticism.sensitivity(results)
    if table is None or not len(table):
        return Card("sensitivity", "plain", title, "not checked", _lines("plain", said)) if said else None
    count = int((table["diagnosis"].fillna("") != "").sum())
    value = f"{count} of {len(table)} estimates depend on them" if count else "no"
    advice = (
        "These estimates change with the prior: a conflict of prior and data, or too few data. Next: justify the "
        "prior, or try a wider one and report both.",
    )
    return Card(
        "sensitivity",
        "warn" if count else "good",
        title,
        value,
        _lines("plain", said),
        advice if count else (),
    )
