"""The report's sentences: every one computed from the results, none true of one study only."""

import re

import numpy as np

from lmm.core.tidy import OWN_ROWS, RESIDUAL, rank_deficient
from lmm.core.words import (
    capital,
    counted,
    error_size,
    given,
    in_errors,
    label,
    listed,
    number,
    percent,
    spoken,
)
from lmm.results.study import Results

APART = 0.01  # a standard error that differs by more than this share is another standard error


def data(results: Results) -> list[str]:
    """What was simulated, or what the data are."""
    about, groups = results.data, results.data["groups"]
    size = f"{counted(about['rows'], 'row')} in {counted(groups, 'group')}"
    if not results.truth:
        said = [f"The data have {size}, grouped by {results.group}; the response is {results.response}."]
        said += contrasts(results)
        if (dropped := about.get("dropped") or {}).get("rows"):
            lost = listed([f"{name} in {number:,}" for name, number in dropped["columns"].items()])
            were = "was" if dropped["rows"] == 1 else "were"
            said.append(
                f"{capital(counted(dropped['rows'], 'row'))} with missing values {were} left out ({lost})."
            )
        said += [capital(f"{note}.") for note in about.get("read_as", ())] + dropped_effects(results)
        said += [
            "They are not simulated: there is no truth to compare with, only the engines with one another."
        ]
        return said + unfitted(results)
    truth = results.truth
    fixed = listed([f"{given(value)} for {term}" for term, value in truth["fixed"].items()])
    spread = listed([f"{given(value)} for {term}" for term, value in truth["sd"].items()])
    said = [
        f"{size} were simulated: fixed effects of {fixed}, random effects with standard deviations of {spread}, and "
        f"noise with a standard deviation of {given(truth['sigma'])}."
    ]
    pairs = [(term, value, results.realised(f"sd__{term}")) for term, value in truth["sd"].items()]
    pairs = [(term, value, drawn) for term, value, drawn in pairs if np.isfinite(drawn)]
    if pairs:
        drawn = listed([f"{number(r)} for {term} (not {given(t)})" for term, t, r in pairs])
        said.append(
            f"{capital(counted(groups, 'group'))} are a sample: the effects in fact drawn have standard "
            f"deviations of {drawn}. "
            "An engine that sees only these data should come close to the latter; the interval is for the former."
        )
    return said + unfitted(results)


def dropped_effects(results: Results) -> list[str]:
    """Which fixed effects were dropped before the fits, where they are rank-deficient."""
    dropped = next((fit.diagnostics.dropped for fit in results.fits.values()), [])
    return [f"{capital(rank_deficient(dropped))}."] if dropped else []


def predicted(results: Results) -> list[str]:
    """How many of the groups to predict the data have; empty where no rows were to be predicted."""
    about = results.notes.get("predictions") or {}
    if "known_groups" not in about:
        return []
    known, new = about["known_groups"], about["new_groups"]
    said = f"{counted(known + new, 'group')} in {counted(about['rows']['predict'], 'row')} were predicted: "
    said += f"{known:,} known from the data ({counted(about['known_rows'], 'row')}), {new:,} new"
    if not new:
        return [f"{said}."]
    others = new - len(about["new_names"])
    names = listed(about["new_names"] + [f"{others:,} others"] * (others > 0))
    said += f" ({counted(about['new_rows'], 'row')}: {names}). A new group's prediction has the fixed effects alone, "
    said += "and the spread between groups in its intervals."
    if not known:
        said += " No group is known: if some should be, their names differ from the data's."
    return [said]


def unfitted(results: Results) -> list[str]:
    """That fitted values were left out, where the rows are too many for them."""
    count = results.data["rows"]
    if count <= OWN_ROWS or not results.mixed:
        return []
    return [
        f"Fitted values of every row are left out: {count:,} rows are more than {OWN_ROWS:,}. "
        "The setting predict gives them for rows of your choice."
    ]


def ols(results: Results) -> list[str]:
    """What least squares makes of grouped rows."""
    fit = results.fits["ols"]
    summary, main = fit.diagnostics.summary, results.main
    said = []
    r2, sigma = summary.get("r2"), summary.get("sigma")
    if r2 is not None and set(results.fixed("ols")) == {"Intercept"}:
        said.append(
            "Ordinary least squares takes all rows for independent: without predictors it is their mean, and leaves "
            f"a residual standard deviation of {number(sigma)}."
        )
    elif r2 is not None:
        said.append(
            f"Ordinary least squares takes all rows for independent. It explains {percent(r2, 2)} of the variance "
            f"(adjusted {percent(summary['adj_r2'], 2)}) and leaves a residual standard deviation of {number(sigma)}."
        )
    if main and sigma:
        inner = results.estimate(main, RESIDUAL)
        if np.isfinite(inner) and inner > 0:
            if sigma > 1.15 * inner:
                said.append(
                    f"Within groups it is {number(inner)} by {label(main)}: OLS counts differences "
                    "between groups as noise, "
                    f"{number(sigma / inner, 2)} times too much of it."
                )
            else:
                said.append(
                    f"{label(main)} leaves {number(inner)}: the groups hardly differ, and OLS loses little."
                )
        errors = {
            term: [results.estimate(engine, term, "std_error") for engine in ("ols", main)]
            for term in results.fixed(main)
        }
        ratios = [(a / b, term) for term, (a, b) in errors.items() if np.isfinite(a) and b > 0]
        low, high = min(ratios, default=(1.0, "")), max(ratios, default=(1.0, ""))
        if low[0] < 0.9:
            said.append(
                f"OLS's standard error of {low[1]} is {number(low[0], 2)} times that of {label(main)}: too sure, "
                "since rows of one group are not independent."
            )
        if high[0] > 1.1:
            said.append(
                f"OLS's standard error of {high[1]} is {number(high[0], 2)} times that of {label(main)}: the mixed "
                "model is the more precise."
            )
    return said


def mixed(results: Results) -> list[str]:
    """MixedLM and reml: the optimum, what it says, the identity."""
    engines = [e for e in ("mixedlm", "reml") if e in results.fits]
    said = [status(results, e) for e in engines if results.fits[e].diagnostics.status != "ok"]
    engine = next((e for e in engines if e in results.mixed), None)
    if engine is None:
        return said
    fit = results.fits[engine]
    if fit.diagnostics.criterion is not None:
        said.append(f"{label(engine)} ends at a REML criterion of {fit.diagnostics.criterion:.4f}.")
    sds = [f"{number(results.estimate(engine, f'sd__{t}'))} for {t}" for t in results.random_terms]
    said.append(
        f"The groups differ with {'a standard deviation' if len(sds) == 1 else 'standard deviations'} of "
        f"{listed(sds)}, around a residual one of "
        f"{number(results.estimate(engine, RESIDUAL))}."
    )
    share = results.tables.get("variance_explained")
    if share is not None:
        found = share[(share["engine"] == engine) & share["measure"].isin(["post", "johnson"])].set_index(
            "measure"
        )["estimate"]
        if {"post", "johnson"} <= set(found.index):
            said.append(
                f"{percent(found['post'], 2)} of the variance is explained, the variances simply summed; a measure "
                f"that does not depend on the predictors' units gives {percent(found['johnson'], 2)}."
            )
    error = fit.diagnostics.summary.get("coef_identity_max_error")
    if error is not None:
        holds = (
            "holds"
            if error <= 1e-8 * max(1.0, results.data["columns"].get(results.response, {}).get("sd") or 1.0)
            else "FAILS"
        )
        said.append(
            f"The identity coef = fixef + ranef {holds} for every row (largest error: {error_size(error, 1e-8)})."
        )
    return said


def optimum(results: Results) -> str:
    """Whether MixedLM reached the exact optimum, and by how much not; empty where it cannot be said."""
    gap = results.fits["mixedlm"].diagnostics.summary.get("reml_gap") if "mixedlm" in results.fits else None
    if not gap:
        return ""
    words = "reached" if gap["reached"] else "did NOT reach"
    return (
        f"statsmodels' MixedLM {words} the exact REML optimum: its criterion differs by "
        f"{error_size(gap['criterion'])} and its "
        f"standard deviations by {'' if abs(gap['sd']) < 1e-6 else 'at most '}{error_size(gap['sd'])} (relative)."
    )


def standard_errors(results: Results) -> str:
    """Where MixedLM's standard errors of fixed effects are not those of generalised least squares; else empty."""
    if not {"mixedlm", "reml"} <= set(results.mixed):
        return ""
    off = []
    for term in results.fixed("reml"):
        theirs, ours = (results.estimate(engine, term, "std_error") for engine in ("mixedlm", "reml"))
        if np.isfinite(theirs) and ours > 0:
            off.append((abs(theirs / ours - 1), term, theirs, ours))
    share, term, theirs, ours = max(off, default=(0.0, "", 0.0, 0.0))
    if share <= APART:
        return ""
    return (
        f"MixedLM's standard errors of fixed effects differ from reml's by up to {percent(share)} ({term}: "
        f"{number(theirs)} against {number(ours)}): statsmodels takes them from the curvature of the likelihood in "
        "all parameters at once, which misleads near the boundary. Use reml's, those of generalised least squares."
    )


def status(results: Results, engine: str) -> str:
    """What went other than well with a fit, as a sentence."""
    details = results.fits[engine].diagnostics
    words = {
        "singular": "is singular: a variance is estimated as 0, or a correlation as ±1",
        "non-converged": "did not converge",
        "gate-failed": "failed its convergence gates, so its numbers are not to be relied on",
        "error": "could not be fitted",
        "skipped": "was skipped",
    }
    message = details.message or ""
    what = words.get(details.status, f"ended as {details.status}")
    return f"{label(engine)} {what}{f' ({message})' if message else ''}."


def bayes(results: Results) -> list[str]:
    """The sampler: gates, effective sample size, where prior and posterior stand."""
    fit = results.fits["pymc"]
    details, said = fit.diagnostics, []
    failed = [gate["name"] for gate in details.gates if not gate["passed"]]
    total = len(details.gates)
    if details.status not in ("ok", "gate-failed"):
        said.append(status(results, "pymc"))
    if total:
        said.append(
            f"All {total} convergence gates are passed."
            if not failed
            else f"{len(failed)} of {total} convergence gates FAILED: {listed(failed)}; do not rely on "
            "the numbers below."
        )
    table = fit.parameters
    if "ess_bulk" in table and table["ess_bulk"].notna().any():
        least = table.loc[table["ess_bulk"].idxmin()]
        said.append(
            f"The parameter with the fewest effective draws, {spoken(least['term'])}, has "
            f"{number(least['ess_bulk'], 4)}; its mean is "
            f"known to ± {number(least['mcse_mean'], 2)} (Monte Carlo standard error)."
        )
    loose = details.summary.get("loose_rule")
    if loose:
        verdict = "passes" if loose["passed"] else "fails"
        too = ", too" if loose["passed"] == (not failed) else ""
        said.append(f"A looser rule that many use ({loose['rule']}) the fit {verdict}{too}.")
    if results.random_terms and "pymc" in results.mixed:
        skew = [
            (results.estimate("pymc", f"sd__{t}") - results.estimate("pymc", f"sd__{t}", "median"), t)
            for t in results.random_terms
        ]
        above = [t for gap, t in skew if gap > 0]
        if len(above) == len(skew):
            said.append(
                "The posterior means of the standard deviations lie above their medians: these "
                "posteriors lean to the right."
            )
    return said


def comparison(results: Results) -> list[str]:
    """Recovery and agreement, in words."""
    said = []
    table = results.tables.get("variance_recovery")
    if results.truth and table is not None:
        sds = table[~table["term"].str.startswith("variance_explained")]
        for engine in results.mixed:
            if f"{engine}_covered" not in sds:
                continue
            covered = sds[f"{engine}_covered"].astype(str)
            known = covered.isin(["True", "False"])
            if known.any():
                held, all_of = int((covered == "True").sum()), int(known.sum())
                missed = listed([spoken(term) for term in sds.loc[covered == "False", "term"]])
                tail = "" if held == all_of else f" (not that of {missed})"
                said.append(
                    f"{label(engine)}'s intervals contain {held} of {all_of} true variance parameters{tail}."
                )
            elif engine == "mixedlm":
                said.append(
                    "MixedLM has no intervals for its variances here: it did not stop at reml's optimum."
                )
    if results.pair and "ranef_differences" in results.tables:
        said += agreement(results)
    return said


def agreement(results: Results) -> list[str]:
    """How far the random effects of the two engines are apart, and what that is in standard errors."""
    first, second = results.pair
    table = results.tables["ranef_differences"].dropna(subset="difference")
    said = []
    for term in results.random_terms:
        mine = table[table["term"] == term]
        if not len(mine):
            continue
        row = mine.loc[mine["difference"].abs().idxmax()]
        error = results.typical_error(term)
        share = abs(row["difference"]) / error if error > 0 else np.nan
        mcse = row.get("mcse", np.nan)
        noise = f" ± {number(mcse, 1)} (Monte Carlo)" if np.isfinite(mcse) else ""
        small = (
            f", {in_errors(share).replace(' standard', ' typical standard', 1)}" if np.isfinite(share) else ""
        )
        said.append(
            f"The random effects of {term} by {label(first)} and {label(second)} differ by at most "
            f"{number(abs(row['difference']), 2)}{noise}{small} (group {row['level']})."
        )
    return said


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
