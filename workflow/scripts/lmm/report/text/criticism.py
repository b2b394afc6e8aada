"""What influence and criticism found, in sentences: for the report and for the alternative texts of figures."""

import numpy as np
import pandas as pd

from lmm.core.words import capital, counted, fixed, listed, number, p_said, p_value, some, with_error
from lmm.results.study import Results

NAMED = 5  # groups named at most in one sentence


def one_group(level: str, factor: str) -> str:
    """`group 3`; of one of several factors: `level 3 of item`."""
    return f"level {level} of {factor}" if factor else f"group {level}"


def named(levels: list[str], factor: str = "") -> str:
    """`group 3`, `groups 3, 5 and 12 others`; of one of several factors: `levels 3 and 5 of item`."""
    shown = [str(level) for level in levels[:NAMED]]
    if len(levels) > NAMED:
        shown.append(f"{len(levels) - NAMED:,} others")
    word = ("level" if factor else "group") + "s" * (len(levels) > 1)
    return f"{word} {listed(shown)}" + (f" of {factor}" if factor else "")


def any_group(factor: str) -> str:
    """`group`; of one of several factors: `level of item`."""
    return f"level of {factor}" if factor else "group"


def strongest(results: Results, term: str) -> dict | None:
    """The group without which an estimate would change most: its row of the influence table; None without one."""
    table = results.tables.get("influence")
    if table is None:
        return None
    mine = table[(table["term"] == term) & table["change"].notna() & (table["change"] != 0)]
    return None if mine.empty else mine.loc[mine["change"].abs().idxmax()].to_dict()


def moved(results: Results, found: dict) -> str:
    """`leaving out group 24 would lower the SD of x from 0.90 to 0.86, 0.5 of its standard error`."""
    factor = results.one_of_several
    before, after = found["estimate_without"] - found["change"], found["estimate_without"]
    term = f"{found['term']}|{factor}" if factor and found["term_group"] == factor else found["term"]
    shared = max(3, int(np.ceil(-np.log10(max(abs(after - before) / max(abs(before), 1e-300), 1e-9)))) + 1)
    digits = min(shared, 6)
    share = found["standardised"]
    said = f"leaving out {one_group(found['level'], factor)} would {'lower' if after < before else 'raise'} "
    ends = [number(value, digits) for value in (before, after)]
    if found["term"].startswith("cor__"):  # a correlation near 0 has no significant digits to speak of
        places = int(np.clip(np.ceil(-np.log10(max(abs(after - before), 1e-9))) + 1, 3, 6))
        ends = [fixed(value, places) for value in (before, after)]
    said += f"{results.spoken(term)} from {ends[0]} to {ends[1]}"
    many = "s" * (abs(share) > 1)
    return said + (f", {number(abs(share), 2)} of its standard error{many}" if np.isfinite(share) else "")


def influence(results: Results) -> list[str]:
    """Which groups drive the variances, and whether any group moves an estimate by a standard error."""
    about, table = results.notes.get("influence_about"), results.tables.get("influence")
    if about is None:
        return []
    if table is None or table.empty:
        return [f"Influence of each {any_group(results.one_of_several)} is left out: {about['left_out']}."]
    factor = results.one_of_several
    terms = [term for term in dict.fromkeys(table["term"]) if term.startswith("sd__")]
    found = [one for one in (strongest(results, term) for term in terms) if one]
    said = [
        f"{capital(moved(results, one))}{', more than without any other' * (k == 0)}."
        for k, one in enumerate(found)
    ]
    every = results.tables.get("influence_all", table)  # of other factors' parameters, too
    large = every[every["standardised"].abs() > 1.0]
    known = table.groupby("term", sort=False)["standardised"].count()
    unknown = some([results.spoken(term) for term in known.index[known == 0]])
    if large.empty and known.any():
        but = f" ({unknown} aside, without one)" if unknown else ""
        said.append(f"No single {any_group(factor)} moves an estimate by more than its standard error{but}.")
    elif large.empty:
        said.append("No estimate has a standard error to judge the changes by.")
    else:
        levels = list(dict.fromkeys(large.sort_values("standardised", key=np.abs, ascending=False)["level"]))
        said.append(
            f"{capital(named(levels, factor))} {'moves' if len(levels) == 1 else 'move'} an estimate by more than "
            "its standard error: look at the data there."
        )
    gone = table.loc[table["status"] == "not estimable", "level"].unique()
    if len(gone):
        said.append(f"Without {named(list(gone), factor)} a fixed effect could not be estimated at all.")
    if about["left_out"]:
        said.append(f"{capital(about['left_out'])}.")
    return said


def left_out(results: Results, check: str) -> str:
    """Why a check is missing; empty where it is not."""
    return results.notes.get("criticism", {}).get("left_out", {}).get(check, "")


def loo(results: Results) -> list[str]:
    """Predictive accuracy for new groups, and for which of them the estimate is not to be relied on."""
    about = results.notes.get("criticism", {}).get("loo")
    if not about:
        why = left_out(results, "loo")
        return [f"Cross-validation by group is left out: {why}."] if why else []
    factor = about.get("group", "")
    said = (
        f"Predicting every {any_group(factor)} from all others, the model reaches an expected log predictive density "
        f"of {with_error(about['elpd'], about['se'])} "
        f"(leave-one-{'level' if factor else 'group'}-out by PSIS; {number(about['p_loo'], 2)} effective parameters)."
    )
    high = about["high"]
    if not high:
        return [said, f"It is reliable: the largest Pareto k is {number(about['largest_k'], 2)}."]
    return [
        said,
        f"Pareto k exceeds {number(about['good_k'], 2)} for {named(high, factor)}: without "
        f"{'it' if len(high) == 1 else 'them'} the posterior would "
        "be another, so the density there is unreliable, probably too high.",
    ]


def outside(results: Results) -> pd.DataFrame:
    """Rows of the predictive check whose observed value lies outside the replicates' interval."""
    table = results.tables["predictive"]
    return table[(table["observed"] < table["low"]) | (table["observed"] > table["high"])]


def by_chance(far: pd.DataFrame) -> bool:
    """Whether statistics outside their intervals are so few and so near that chance explains them."""
    return len(far) <= 1 and bool(far["p_value"].between(0.005, 0.995).all())


def predictive(results: Results) -> list[str]:
    """Whether data from the fitted model look like the data; whether the priors expect them."""
    table = results.tables.get("predictive")
    if table is None or table.empty:
        why = left_out(results, "predictive")
        return [f"Predictive checks are left out: {why}."] if why else []
    level = results.level
    far, said = outside(results), []
    if far.empty:
        said.append(
            f"Data replicated from the posterior resemble the data: all {len(table)} statistics lie within the "
            f"replicates' central {level}."
        )
    else:
        count = results.notes["criticism"]["replicates"]
        names = listed(
            [f"{text(row.statistic)} ({p_said(p_value(row.p_value, 1 / count))})" for row in far.itertuples()]
        )
        one_in = number(1 / (1 - results.conf_level), 2)
        chance = f" About one in {one_in} does so by chance." if by_chance(far) else ""
        said.append(
            f"Of {len(table)} statistics {len(far)} {'lies' if len(far) == 1 else 'lie'} outside the central {level} "
            f"of data replicated from the posterior: {names}.{chance}"
        )
    why = left_out(results, "prior_predictive")
    if why:
        said.append(f"There is no prior predictive check: {why}.")
    elif table["prior_low"].notna().any():
        said.append(_expected(table, level))
    return said


def _expected(table: pd.DataFrame, level: str) -> str:
    """Where the data lie in what the priors expected."""
    table = table[table["statistic"] != "unequal_residuals"]  # its distribution has no parameter, so no prior
    parts, count = [], 0
    for word, far in (
        ("below", table["observed"] < table["prior_low"]),
        ("above", table["observed"] > table["prior_high"]),
    ):
        names = some([text(name) for name in table.loc[far, "statistic"]])
        parts += [f"{names} ({word})"] if names else []
        count += int(far.sum())
    if not parts:
        return f"All statistics of the data lie within the central {level} of prior predictive data."
    return f"Outside the central {level} of prior predictive data {'lies' if count == 1 else 'lie'} {listed(parts)}."


def sensitivity(results: Results) -> list[str]:
    """Which estimates are prior-sensitive."""
    table = results.tables.get("sensitivity")
    if table is None or table.empty:
        why = left_out(results, "sensitivity")
        return [f"Prior sensitivity is left out: {why}."] if why else []
    marked = table[table["diagnosis"].fillna("") != ""]
    if marked.empty:
        worst = table.loc[table["prior"].idxmax()]
        return [
            f"No estimate is prior-sensitive: the largest sensitivity to the prior is {number(worst['prior'], 2)} "
            f"(of {results.spoken(worst['term'])}), below 0.05."
        ]
    parts = [
        f"{some([results.spoken(term) for term in own['term']], 'table of sensitivity')} ({diagnosis})"
        for diagnosis, own in marked.groupby("diagnosis")
    ]
    count = f"{counted(len(marked), 'estimate')} {'is' if len(marked) == 1 else 'are'}"
    return [f"{count} prior-sensitive: {'; '.join(parts)}."]


def bayes(results: Results) -> list[str]:
    """All sentences on the Bayesian fit."""
    return [*predictive(results), *loo(results), *sensitivity(results)]


TEXTS = {
    "sd_y": "SD of the response",
    "sd_means": "SD of the group means",
    "sd_within": "pooled SD within groups",
    "lowest_mean": "lowest group mean",
    "highest_mean": "highest group mean",
    "skewness_means": "skewness of the group means",
    "unequal_residuals": "inequality of the groups' residual variances",
}


def text(statistic: str) -> str:
    """What a statistic is, in words."""
    statistic, _, factor = statistic.partition("|")
    name, _, column = statistic.partition(":")
    by = f" by {factor}" if factor else ""
    if column:
        kind = {
            "sd_slopes": "SD of the groups' own slopes",
            "cor_mean_slope": "correlation of means and slopes",
        }
        return f"{kind[name]} of {column}{by}"
    return TEXTS[name] + by
