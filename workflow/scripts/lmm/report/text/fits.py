"""Sentences on the data and on every engine's fit, all computed from the results."""

import re

import numpy as np

from lmm.core.engines import UNIDENTIFIED
from lmm.core.tidy import OWN_ROWS, RESIDUAL, rank_deficient
from lmm.core.words import (
    capital,
    counted,
    error_size,
    estimated,
    given,
    label,
    listed,
    number,
    percent,
    places,
    some,
)
from lmm.results.study import Results

ROUNDING = 1e-3  # of a standard error: random effects that differ by less are the same up to rounding
APART = 0.01  # a standard error that differs by more than this share is another standard error


def data(results: Results) -> list[str]:
    """What was simulated, or what the data are."""
    about = results.data
    size = f"{counted(about['rows'], 'row')} in {sizes(results)}"
    if not results.truth:
        name = results.labels.column
        said = [
            f"The data have {size}, grouped by {listed(list(map(name, results.groups)))}; the response is "
            f"{name(results.response)}."
        ]
        said += contrasts(results)
        if lost := dropped(results):
            columns = about["dropped"]["columns"].items()
            said.append(f"{capital(lost)} ({listed([f'{name} in {count:,}' for name, count in columns])}).")
        said += [capital(f"{note}.") for note in about.get("read_as", ())] + dropped_effects(results)
        return said + unfitted(results)
    truth = results.truth
    effects = some([f"{given(value)} for {term}" for term, value in truth["fixed"].items()], "results table")
    each = [(own, named(results, own)) for own in results.by_factor]
    spread = listed(
        [f"{given(value)} for {term}{of}" for own, of in each for term, value in own.truth["sd"].items()]
    )
    pairs = [
        (pair.replace(".", " and ", 1) + of, value)
        for own, of in each
        for pair, value in (own.truth.get("corr") or {}).items()
        if value
    ]
    corr = listed([f"{given(value)} ({names})" for names, value in pairs])
    said = [
        f"{size} were simulated: fixed effects of {effects}, random effects with standard deviations of {spread}"
        f"{f' and a correlation of {corr}' * bool(corr)}, and noise with a standard deviation of "
        f"{given(truth['sigma'])}."
    ]
    pairs = [
        (f"{term}{of}", value, own.realised(f"sd__{term}"))
        for own, of in each
        for term, value in own.truth["sd"].items()
    ]
    pairs = [(term, value, drawn) for term, value, drawn in pairs if np.isfinite(drawn)]
    if pairs:
        drawn = some([f"{number(r)} for {term} (not {given(t)})" for term, t, r in pairs])
        said.append(
            f"{capital(sizes(results))} are a sample: the effects in fact drawn have standard "
            f"deviations of {drawn}. "
            "An engine that sees only these data should come close to the values drawn; its intervals are for the "
            "values simulated from."
        )
    return said + unfitted(results)


def sizes(results: Results) -> str:
    """`12 groups`; `40 levels of subject and 24 levels of item` where there are several factors."""
    if len(results.by_factor) == 1:
        return counted(results.data["groups"], "group")
    return listed([f"{counted(own.data['groups'], 'level')} of {own.group}" for own in results.by_factor])


def named(results: Results, own: Results) -> str:
    """` of subject` where there are several factors, else empty."""
    return f" of {own.group}" if len(results.by_factor) > 1 else ""


def dropped(results: Results) -> str:
    """`22 rows with missing values were left out`; empty without such rows."""
    lost = (results.data.get("dropped") or {}).get("rows") or 0
    were = "was" if lost == 1 else "were"
    return f"{counted(lost, 'row')} with missing values {were} left out" if lost else ""


def dropped_effects(results: Results) -> list[str]:
    """Which fixed effects were dropped before the fits, where they are rank-deficient."""
    dropped = next((fit.diagnostics.dropped for fit in results.fits.values()), [])
    return [f"{capital(rank_deficient(dropped))}."] if dropped else []


def predicted(results: Results) -> list[str]:
    """How many of the groups to predict the data have; empty where no rows were to be predicted."""
    about = results.notes.get("predictions", {})
    found = about.get("factors") or ({"": about} if "known_groups" in about else {})
    return [_met(own | {"rows": about["rows"]}, f" of {group}" * bool(group)) for group, own in found.items()]


def _met(about: dict, of: str) -> str:
    """Known and new groups of one grouping factor."""
    known, new = about["known_groups"], about["new_groups"]
    said = (
        f"{counted(known + new, 'group')}{of} in {counted(about['rows']['predict'], 'row')} were predicted: "
    )
    said += f"{known:,} known from the data ({counted(about['known_rows'], 'row')}), {new:,} new"
    if not new:
        return f"{said}."
    others = new - len(about["new_names"])
    names = listed(about["new_names"] + [f"{others:,} others"] * (others > 0))
    said += f" ({counted(about['new_rows'], 'row')}: {names}). A new group's prediction has the fixed effects alone, "
    said += "and the spread between groups in its intervals."
    if not known:
        said += " No group is known: if some should be, their names differ from the data's."
    return said


def unfitted(results: Results) -> list[str]:
    """That fitted values were left out, where the rows are too many for them."""
    count = results.data["rows"]
    if count <= OWN_ROWS or not results.mixed:
        return []
    return [
        f"Fitted values of every row are left out: {count:,} rows are more than {OWN_ROWS:,}. "
        "The setting predict gives them for rows of your choice."
    ]


def pooled(results: Results) -> list[str]:
    """What least squares makes of grouped rows."""
    engine, main = results.pooled, results.leading if results.leading in results.mixed else None
    summary = results.fits[engine].diagnostics.summary
    said = []
    r2, sigma = summary.get("r2"), summary.get("sigma")
    if r2 is not None:
        explains = (
            "Without predictors it is their mean"
            if set(results.fixed(engine)) == {"Intercept"}
            else f"It explains {percent(r2, 2)} of the variance (adjusted {percent(summary['adj_r2'], 2)})"
        )
        said.append(
            f"Ordinary least squares takes all rows as independent. {explains} and leaves a residual standard "
            f"deviation of {number(sigma)}."
        )
    inner = results.estimate(main, RESIDUAL) if main else np.nan
    if sigma and inner > 0:
        said.append(
            f"It attributes between-group variation to the residual: its residual standard deviation is "
            f"{number(sigma / inner, 2)} times that of {label(main)} ({number(inner)})."
            if sigma > 1.15 * inner
            else f"That of {label(main)} is {number(inner)}: differences between groups hardly add to it."
        )
    return said + (_pooled_errors(results, engine, main) if main else [])


def _pooled_errors(results: Results, engine: str, main: str) -> list[str]:
    """Where the standard errors of least squares are too small or too large beside the mixed model's."""
    ratios = []
    for term in results.fixed(main):
        theirs, ours = (results.estimate(name, term, "std_error") for name in (engine, main))
        if np.isfinite(theirs) and ours > 0:
            ratios.append((theirs / ours, results.labels.term(term)))
    low, high = min(ratios, default=(1.0, "")), max(ratios, default=(1.0, ""))
    said = []
    if low[0] < 0.9:
        said.append(
            f"{label(engine)}'s standard error of {low[1]} is {number(low[0], 2)} times that of {label(main)}: too "
            "small (anticonservative), since rows of one group are not independent."
        )
    if high[0] > 1.1:
        said.append(
            f"{label(engine)}'s standard error of {high[1]} is {number(high[0], 2)} times that of {label(main)}: the "
            "mixed model is the more precise."
        )
    return said


def likelihood(results: Results, names: list[str]) -> list[str]:
    """Fits by (restricted) maximum likelihood: criterion and the identity of coefficients."""
    ends: dict[str, list[str]] = {}
    said = []
    for engine in names:
        details = results.fits[engine].diagnostics
        if details.criterion is not None:
            kind = "deviance (ML)" if details.method == "ML" else "REML criterion"
            ends.setdefault(f"a {kind} of {details.criterion:.4f}", []).append(label(engine))
        error = details.summary.get("coef_identity_max_error")
        if error is not None:
            limit = 1e-8 * max(1.0, results.data["columns"].get(results.response, {}).get("sd") or 1.0)
            holds = "holds for every row" if error <= limit else "does NOT hold for every row"
            said.append(
                f"The identity coef = fixef + ranef {holds} ({label(engine)}, largest error: "
                f"{error_size(error, 1e-8)})."
            )
    return [
        f"{listed(engines)} end{'s' * (len(engines) == 1)} at {end}." for end, engines in ends.items()
    ] + said


def explained(results: Results, engine: str | None) -> list[str]:
    """Shares of the variance: of the random effects in what the fixed effects leave, and of the fixed effects."""
    found = results.explained(engine)
    if engine not in results.mixed or not {"post", "johnson", "marginal_r2", "conditional_r2"} <= set(
        found.index
    ):
        return []
    predictors = set(results.fixed(engine)) - {"Intercept"}
    of = "the variance that the fixed effects leave" if predictors else "the variance"
    said = [
        f"The random effects account for {percent(found['johnson'], 2)} of {of} (mean over rows, Johnson 2014)"
    ]
    if set(results.random_terms) != {"Intercept"}:
        said[0] += (
            f"; their share of the summed variance components, which depends on the predictors' units, is "
            f"{percent(found['post'], 2)}"
        )
    said[0] += "."
    if predictors:
        said.append(
            f"The fixed effects explain {percent(found['marginal_r2'], 2)} of the variance (marginal R²), fixed and "
            f"random effects together {percent(found['conditional_r2'], 2)} (conditional R²)."
        )
    return said


def optimum(results: Results, engine: str) -> str:
    """Whether an optimiser reached the exact optimum, and by how much not; empty where it cannot be said."""
    gap = results.fits[engine].diagnostics.summary.get("reml_gap")
    if not gap:
        return ""
    words = "reached" if gap["reached"] else "did NOT reach"
    return (
        f"{label(engine)} {words} the exact REML optimum: its criterion differs by "
        f"{error_size(gap['criterion'])} and its "
        f"standard deviations by {'' if abs(gap['sd']) < 1e-6 else 'at most '}{error_size(gap['sd'])} (relative)."
    )


def df_method(results: Results) -> str:
    """How degrees of freedom were found: as the exact engine is set, by its default where MixedLM had it unasked."""
    if results.exact is not None:
        return results.fits[results.exact].diagnostics.df or ""
    mine = [name for name in results.others if results.fits[name].parameters["df"].notna().any()]
    return "satterthwaite" if mine else ""


def rounding(own: Results) -> str:
    """That two optimisers of one criterion give the same random effects of a factor; empty where they do not."""
    table = own.tables.get("ranef_differences")
    if own.pair is None or own.bayes in own.pair or table is None or not len(table):
        return ""
    for term in own.random_terms:
        largest = table.loc[table["term"] == term, "difference"].abs().max()
        if largest > 0 and not largest < ROUNDING * own.typical_error(term):
            return ""
    of = f" of {own.one_of_several}" if own.one_of_several else ""
    return (
        f"{listed([label(name) for name in own.pair])} give the same random effects{of}: no difference "
        f"is as large as {percent(ROUNDING)} of a standard error."
    )


def standard_errors(results: Results, engine: str) -> str:
    """Where an optimiser's standard errors are not those of generalised least squares; else empty."""
    exact = results.exact
    if exact is None or engine not in results.mixed:
        return ""
    off = []
    for term in results.fixed(exact):
        theirs, ours = (results.estimate(name, term, "std_error") for name in (engine, exact))
        if np.isfinite(theirs) and ours > 0:
            off.append((abs(theirs / ours - 1), results.labels.term(term), theirs, ours))
    share, term, theirs, ours = max(off, default=(0.0, "", 0.0, 0.0))
    if share <= APART:
        return ""
    where = boundary(results)
    return (
        f"{label(engine)}'s standard errors of fixed effects differ from {label(exact)}'s by up to {percent(share)} "
        f"({term}: {number(theirs)} against {number(ours)}): they come from the curvature of the likelihood in "
        f"all parameters at once{f', which misleads near the boundary ({where})' * bool(where)}; those of "
        f"{label(exact)} are of generalised least squares."
    )


def boundary(results: Results) -> str:
    """Why the exact fit is at or near the boundary of the parameters; empty where it is not."""
    fit = results.fits[results.exact]
    if fit.diagnostics.singular:
        return "the fit is singular"
    said = []
    for row in fit.parameters.itertuples():
        if row.term.startswith("sd__") and row.conf_low <= 0:
            said.append(f"the interval of {results.spoken(row.term)} reaches 0")
        if row.term.startswith("cor__") and (row.conf_low <= -1 or row.conf_high >= 1):
            said.append(
                f"the interval of {results.spoken(row.term)} reaches {'−1' if row.conf_low <= -1 else '1'}"
            )
    return listed(said)


def status(results: Results, engine: str) -> str:
    """What went other than well with a fit, as a sentence."""
    details = results.fits[engine].diagnostics
    words = {
        "singular": "is singular: a variance is estimated as 0, or a correlation as ±1",
        UNIDENTIFIED: "has variance parameters that the data do not determine, so do not rely on its numbers",
        "non-converged": "did not converge",
        "gate-failed": "failed its convergence gates, so its numbers are not to be relied on",
        "error": "could not be fitted",
        "skipped": "was skipped",
    }
    message = details.message or ""
    what = words.get(details.status, f"ended as {details.status}")
    return f"{label(engine)} {what}{f' ({message})' if message else ''}."


def bayes(results: Results) -> list[str]:
    """The sampler: gates and the effective sample size."""
    fit = results.fits[results.bayes]
    details, said = fit.diagnostics, []
    failed = [gate["name"] for gate in details.gates if not gate["passed"]]
    total = len(details.gates)
    if details.status not in ("ok", "gate-failed"):
        said.append(status(results, results.bayes))
    if total:
        said.append(
            f"All {total} convergence gates are passed."
            if not failed
            else f"{len(failed)} of {total} convergence gates FAILED: {listed(failed)}; do not rely on "
            f"{label(results.bayes)}'s numbers."
        )
    table = fit.parameters
    if "ess_bulk" in table and table["ess_bulk"].notna().any():
        least = table.loc[table["ess_bulk"].idxmin()]
        name = results.spoken(results.name_of(least["group"], least["term"]))
        error = estimated(least["mcse_mean"], places(least["mcse_mean"], 12), 2)
        said.append(
            f"The parameter with the fewest effective draws, {name}, has {number(least['ess_bulk'], 4)}; its mean is "
            f"known to ± {error} (Monte Carlo standard error)."
        )
    loose = details.summary.get("loose_rule")
    if loose:
        verdict = "passes" if loose["passed"] else "fails"
        also = "also " if loose["passed"] == (not failed) else ""
        said.append(f"The fit {also}{verdict} the looser limits that many use ({loose['rule']}).")
    return said


def skewed(results: Results) -> list[str]:
    """Whether the posteriors of the between-group standard deviations are right-skewed."""
    engine = results.bayes
    if engine not in results.mixed:
        return []
    above = [
        results.estimate(engine, term) - results.estimate(engine, term, "median")
        > 2 * np.nan_to_num(results.estimate(engine, term, "mcse_mean"))
        for group, term in results.components
        if term.startswith("sd__") and term != RESIDUAL
    ]
    if not above or not all(above):
        return []
    return [
        "The posterior means of the between-group standard deviations lie above their medians: these posteriors are "
        "right-skewed."
    ]


def contrasts(results: Results) -> list[str]:
    """Which level of each categorical predictor the others are compared with."""
    terms = {term for fit in results.fits.values() for term in fit.parameters["term"]}
    said = []
    for name, column in results.data["columns"].items():
        if "levels" not in column:
            continue
        named = rf"(?:{re.escape(name)}|C\(`?{re.escape(name)}(?!\w).*\))\[T\.(.*)\]"
        compared = {found[1] for term in terms if (found := re.fullmatch(named, term))}
        left = [str(level) for level in column["levels"] if str(level) not in compared]
        if compared and len(left) == 1:
            said.append(f"levels of {name} with {left[0]}")
    return [f"Treatment contrasts compare {listed(said)}."] if said else []
