"""A methods paragraph that a paper can quote, and the BibTeX of what was used: from configuration and results."""

from collections.abc import Mapping, Sequence
from typing import Any

from lmm.core import engines
from lmm.core.tidy import CORRELATIONS
from lmm.core.words import capital, counted, label, listed, shortened, some
from lmm.model.formula import parse, unweighted
from lmm.report.text.fits import df_method, dropped, sizes
from lmm.results.study import Results


def _version(results: Results, engine: str, package: str) -> str:
    found = results.fits[engine].diagnostics.versions.get(package)
    return f" {found}" if found else ""


def methods(results: Results) -> str:
    """How the study was analysed, as one quotable paragraph."""
    level = f"{100 * results.conf_level:g} %"
    rows, groups = counted(results.data["rows"], "row"), sizes(results)
    said = []
    if results.truth:
        generator = results.truth.get("generator")
        how = {"r": " with R's random number generators", "numpy": " with NumPy's PCG64"}.get(generator, "")
        seed = f" (seed {results.truth['seed']})" if results.truth.get("seed") is not None else ""
        said.append(f"We simulated {rows} in {groups}{how}{seed}.")
    else:
        lost = dropped(results)
        said.append(f"We analysed {rows} in {groups}{f'; {lost}' * bool(lost)}.")
    model = results.settings["formula"]
    weights = parse(model).weights
    said.append(
        f"The linear mixed model was {unweighted(model)}, in the notation of lme4 (Bates et al. 2015)"
        f"{f', with the precision weights {results.labels.column(weights)}' * bool(weights)}."
    )
    if results.pooled:
        role = "served as a reference" if results.mixed else "was the only fit"
        said.append(f"Ordinary least squares, which ignores the groups, {role}.")
    rivals = [name for name in results.others if name in results.mixed]
    for engine in rivals:
        package = engines.row(engine).packages[-1]
        said.append(
            f"The model was fitted by restricted maximum likelihood (REML) with {label(engine)} of "
            f"{package}{_version(results, engine, package)}{CITED.get(package, '')}."
        )
    if rivals and not results.exact:
        said.append(_by_moments(results, rivals[0], level))
    if results.exact:
        said.append(_exact(results, level, bool(rivals)))
    if results.bayes in results.mixed:
        said += _bayesian(results, level, results.bayes)
    if results.mixed:
        said.append(
            "Standard errors of random effects are prediction errors, the uncertainty of the fixed "
            "effects included; variance "
            "explained is averaged over rows (Johnson 2014)."
        )
    return " ".join([*filter(None, said), "The analysis ran as a Snakemake workflow (Mölder et al. 2021)."])


CITED = {"statsmodels": " (Seabold & Perktold 2010)"}
DF = {
    "satterthwaite": "; fixed effects were tested by t with Satterthwaite's degrees of freedom (Kuznetsova et "
    "al. 2017)",
    "kenward-roger": "; fixed effects were tested by t with the standard errors and degrees of freedom of Kenward "
    "and Roger (1997)",
    "normal": "; fixed effects were tested by the normal distribution",
}

MOST_PRIORS = 5  # named in the paragraph


def _by_moments(results: Results, engine: str, level: str) -> str:
    """What a fit by an optimiser of its own has from the exact one: intervals, and degrees of freedom."""
    table = results.fits[engine].parameters
    spread = table[table["effect"] == "ran_pars"]
    said = []
    if spread["conf_low"].notna().any():
        said.append(f"standard deviations and correlations have {level} profile-likelihood intervals")
    if method := df_method(results):
        said.append(DF[method].removeprefix("; "))
    return capital(f"{'; '.join(said)}.") if said else ""


def _exact(results: Results, level: str, rivals: bool) -> str:
    details = results.fits[results.exact].diagnostics
    by = "maximum likelihood (ML)" if details.method == "ML" else "restricted maximum likelihood (REML)"
    kind = details.method or "REML"
    fitted = f"A second {kind} fit was made" if rivals else f"The model was fitted by {by}"
    return (
        f"{fitted} from sufficient statistics, with its optimum certified by first and second derivatives; its "
        f"standard errors are those of generalised least squares, and standard deviations and correlations have "
        f"{level} profile-likelihood intervals{DF.get(df_method(results), '')}."
    )


def _of(results: Results, parameter: str) -> str:
    """A parameter that has a prior, in a sentence."""
    if parameter.startswith(CORRELATIONS):
        return f"the {parameter}"
    return results.spoken(parameter) if parameter.startswith("sd__") else results.titled(parameter)


def _stated(by_prior: Mapping[str, Sequence[str]]) -> str:
    """Priors with the parameters that have them, the first few of many."""
    said = [f"{text} for {some(names)}" for text, names in by_prior.items()]
    if len(said) > MOST_PRIORS + 1:
        said = [*said[:MOST_PRIORS], f"and {len(said) - MOST_PRIORS} more (table of priors)"]
    return "; ".join(said)


def _length(setting: Mapping[str, Any]) -> str:
    """Chains and draws, where the configuration is at hand."""
    if not {"chains", "tune", "draws"} <= set(setting):
        return ""
    return (
        f" ({setting['chains']} chains, {setting['tune']:,} warm-up and {setting['draws']:,} kept draws each)"
    )


def _bayesian(results: Results, level: str, engine: str) -> list[str]:
    details = results.fits[engine].diagnostics
    setting = results.engine_settings(engine)
    package, sampler = engines.row(engine).packages[:2]
    sampler += _version(results, engine, sampler)
    sampled, then = "the joint posterior of fixed effects, random effects and variance parameters", ""
    if details.summary.get("model") != "full":
        sampled = "the marginal posterior of the variance parameters"
        then = "; fixed and random effects were then drawn exactly from their Gaussian conditionals"
    importance = details.summary.get("sampler") == "importance"
    said = [
        f"A Bayesian fit{' of ' + setting['formula'] if setting.get('formula') else ''} sampled {sampled} by "
        f"importance sampling ({details.summary.get('points', 0):,} weighted points, Pareto k "
        f"{details.summary.get('pareto_k', 0.0):.2f}; Vehtari et al. 2024){then}."
        if importance
        else f"A Bayesian fit{' of ' + setting['formula'] if setting.get('formula') else ''} with "
        f"{label(engine)}{_version(results, engine, package)} "
        f"(Abril-Pla et al. 2023) sampled {sampled} with {sampler}{_length(setting)}{then}."
    ]
    priors = details.summary.get("priors") or []
    if isinstance(priors, dict):
        priors = [{"parameter": key, "prior": value} for key, value in priors.items()]
    by_prior: dict[str, list[str]] = {}
    for row in priors:
        text = f"{shortened(row['prior'])} {row.get('at', '')}".rstrip()
        by_prior.setdefault(text, []).append(_of(results, results.prior_name(row)))
    if by_prior:
        said.append(f"Priors: {_stated(by_prior)}.")
    failed = [gate["name"] for gate in details.gates if not gate["passed"]]
    verdict = f"; the fit failed on {listed(failed)}" if failed else "; all were met"
    said.append(
        (
            "The draws were judged by the Pareto k of their weights, bulk and tail effective sample size "
            if importance
            else "Convergence was judged by rank-normalised R-hat, bulk and tail effective sample size, "
            "divergences, tree depth and E-BFMI "
        )
        + f"(Vehtari et al. 2021; ArviZ{_version(results, engine, 'arviz')}, Kumar et al. 2019){verdict}. "
        f"Intervals of {label(engine)} "
        f"are {level} posterior quantiles."
    )
    note = results.notes.get("criticism", {})
    checks = ["posterior predictive checks"] if note.get("replicates") else []
    if found := note.get("loo"):
        by, also = (f" by {found['group']}", "; Bürkner et al. 2021") if "group" in found else ("", "")
        checks.append(f"leave-one-group-out cross-validation{by} (PSIS; Vehtari et al. 2017{also})")
    if note and "sensitivity" not in note["left_out"]:
        checks.append("power-scaling of prior and likelihood (Kallioinen et al. 2024)")
    if checks:
        said.append(f"The Bayesian fit was checked by {listed(checks)}.")
    return said
