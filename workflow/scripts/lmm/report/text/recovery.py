"""A recovery study in sentences: aims and methods (ADEMP), plain answers, failures, calibration: all from results."""

import numpy as np
import pandas as pd

from lmm.core import engines as catalogue
from lmm.core.tidy import RESIDUAL
from lmm.core.words import (
    capital,
    counted,
    fixed,
    label,
    listed,
    p_said,
    p_value,
    percent,
    share,
    spoken,
    with_error,
)
from lmm.recovery.grid import STATUSES, USABLE
from lmm.results.replicated import Recovered, axis_name, axis_value, quantity_name, statuses, truths

# Coverage is too low if it is more than this below nominal even with so many Monte Carlo standard errors added
NEAR, ALLOWED = 0.025, 3
MOST_MESSAGES = 5
NAMED = 3  # coverages named in a sentence


def mixed_engines(recovered: Recovered) -> list[str]:
    """Engines that estimate random effects' sd's, by their results."""
    sds = recovered.rows("bias", effect="ran_pars")
    have = set(sds.loc[sds["term"] != RESIDUAL, "engine"])
    return [name for name in recovered.engines if name in have]


def own_data(recovered: Recovered) -> bool:
    """Whether replicates are drawn from a fit of the user's data, and not from a simulated design."""
    return not recovered.settings.get("simulate", True)


def ademp(recovered: Recovered) -> list[str]:
    """Aims, data-generating mechanisms, estimands, methods, performance measures (Morris et al. 2019)."""
    level = f"{100 * recovered.conf_level:g} %"
    designs = len(recovered.designs)
    calibrated = "calibration" in recovered.tables
    own = own_data(recovered)
    said = [
        "Aim: to learn whether this design and model recover the fixed effects, the variances and the group effects "
        "that are there, and whether intervals hold them as often as they say."
    ]
    if own:
        data = "the model fitted to the study's own data, on their own design matrix (parametric bootstrap)"
    else:
        data = counted(designs, "design")
        crossed = [
            f"{axis_name(a)} {listed([axis_value(v) for v in recovered.values(a)])}" for a in recovered.axes
        ]
        data += (
            f" ({'; '.join(crossed)})" if crossed else f" ({recovered.describe(recovered.designs.iloc[0])})"
        )
    said.append(
        f"Data: {data}, {counted(recovered.n_replicates, 'replicate')}{' each' if designs > 1 else ''}; every engine "
        "sees the same data."
    )
    if calibrated:
        drawn = "the posterior of the observed data" if own else "the priors"
        said.append(f"Estimands: parameters drawn anew from {drawn} for each replicate.")
    else:
        said.append(
            f"Estimands: {truths(recovered)}; variance explained; the random effects of each replicate."
        )
    methods = [f"Methods: {listed([label(name) for name in recovered.engines])}, with {level} intervals."]
    drawn = [sampler(recovered, name) for name in catalogue.of_family(recovered.engines, catalogue.BAYES)]
    said.append(" ".join(methods + drawn))
    said.append(
        "Performance: bias, empirical and model-based standard error, root mean squared error, coverage, power, "
        "precision against "
        f"{label(recovered.reference)}, each with its Monte Carlo standard error (written after ±)."
    )
    return said


def sampler(recovered: Recovered, engine: str) -> str:
    """Which sampler made the draws."""
    settings = (recovered.settings.get("configuration") or {}).get("engines", {}).get(engine) or {}
    if settings.get("sampler") == "nuts":
        return f"{label(engine)}'s draws are those of NUTS."
    table = recovered.tables["failures"]
    mine = table[table["engine"] == engine]
    replaced = int(mine.loc[(mine["status"] == "ok") & (mine["sampler"] == "nuts"), "count"].sum())
    said = f"{label(engine)}'s draws are those of importance sampling"
    if not replaced:
        return f"{said}, which passed its gates in every usable fit."
    return (
        f"{said}, and of NUTS in the {counted(replaced, 'usable fit')} of {int(mine['count'].sum()):,} in which it "
        "failed a gate."
    )


def answers(recovered: Recovered) -> list[str]:
    """What a planner wants to know: whether intervals cover, and where not; how biased the sd's are at worst."""
    engines = mixed_engines(recovered)
    alike: dict[str, list[str]] = {}  # engines at the same optimum have the same coverage
    for name in engines:
        alike.setdefault(judge(recovered, name), []).append(f"{label(name)}'s")
    judged = [f"{listed(names)} {text}" for text, names in alike.items() if text]
    said = [*judged, *_hardest(recovered, engines)]
    for term in recovered.random_terms():
        said += _where_there_is_none(recovered, term, engines)
    said += [text for text in [_pooled(recovered)] if text]
    return [*said, rule(recovered)] if judged else said


def _hardest(recovered: Recovered, engines: list[str]) -> list[str]:
    """The design and sd whose bias is largest for the reference engine, and what every engine makes of them."""
    found = [bias for term in recovered.random_terms() if len(bias := _biases(recovered, term, engines))]
    if not found:
        return []
    # biases in percent of the truth compare; others are spoken of if there are none of these
    found = [bias for bias in found if set(bias["measure"]) == {"relative_bias"}] or found
    leads = [bias[bias["engine"] == _lead(recovered, bias, engines)] for bias in found]
    bias, mine = max(zip(found, leads, strict=True), key=lambda pair: pair[1]["estimate"].abs().max())
    worst = mine.loc[mine["estimate"].abs().idxmax()]
    where = recovered.beside(recovered.designs.set_index("design").loc[worst["design"]])
    there = bias[bias["design"] == worst["design"]].drop_duplicates("engine").set_index("engine")
    lead = worst["engine"]
    others = [
        f"{label(name)}'s is {_bias(there.loc[name])}"
        for name in engines
        if name in there.index and name != lead
    ]
    said = [
        f"{label(lead)}'s largest bias of a random effect's sd is {_bias(worst)}, for {spoken(worst['term'])}"
        f"{where}{f'; {listed(others)} there' if others else ''}."
    ]
    zero = recovered.rows("p_zero", term=worst["term"])
    zero = zero[(zero["engine"] == worst["engine"]) & (zero["design"] == worst["design"])]
    if len(zero) and zero["estimate"].iloc[0] >= 0.02:
        row = zero.iloc[0]
        times = share(row["estimate"], row["mcse"])
        said.append(f"{label(row['engine'])} estimates it as exactly 0 in {times} of these replicates.")
    return said


def _lead(recovered: Recovered, rows: pd.DataFrame, engines: list[str]) -> str:
    return next(name for name in (recovered.reference, *engines) if name in set(rows["engine"]))


def _biases(recovered: Recovered, term: str, engines: list[str]) -> pd.DataFrame:
    """A term's biases by design and engine: in percent of the truth where that is far from 0."""
    bias = recovered.rows("relative_bias", term=term)
    bias = bias[bias["engine"].isin(engines)]
    if not len(bias) or not recovered.far_from_zero(bias).all():
        bias = recovered.rows("bias", term=term)
        bias = bias[bias["engine"].isin(engines)]
    return bias


def _where_there_is_none(recovered: Recovered, term: str, engines: list[str]) -> list[str]:
    """What engines estimate where the true sd is 0: by engine, the lowest share of exact zeros over such designs."""
    rows = recovered.rows("p_zero", term=term)
    rows = rows[(rows["truth"] == 0) & rows["engine"].isin(engines)]
    least = [rows.loc[part.idxmin()] for _, part in rows.groupby("engine", sort=False)["estimate"]]
    if not least:
        return []
    parts = [f"{share(row['estimate'], row['mcse'])} of fits by {label(row['engine'])}" for row in least]
    return [f"Where {spoken(term)} is 0 in truth, it is estimated as exactly 0 in at least {listed(parts)}."]


def _bias(row: pd.Series) -> str:
    return (share if row["measure"] == "relative_bias" else with_error)(row["estimate"], row["mcse"])


def _pooled(recovered: Recovered) -> str:
    """The worst interval of a fixed effect of the engine that ignores groups, where it is far from nominal."""
    engine = catalogue.first(recovered.engines, catalogue.POOLED)
    rows = recovered.rows("coverage", engine=engine, effect="fixed") if engine else ()
    if not len(rows):
        return ""
    row = rows.loc[rows["estimate"].idxmin()]
    if not short(recovered, rows).any():
        return f"{label(engine)}'s intervals of fixed effects cover at least {share(row['estimate'], row['mcse'])}."
    where = recovered.beside(row)
    return (
        f"{label(engine)}, which takes rows as independent, covers {spoken(row['term'])} only "
        f"{share(row['estimate'], row['mcse'])} of the time{where}."
    )


def short(recovered: Recovered, rows: pd.DataFrame) -> pd.Series:
    """Which coverages are too low: by more than `NEAR`, `ALLOWED` Monte Carlo standard errors added."""
    return (recovered.conf_level - rows["estimate"]) - ALLOWED * rows["mcse"].fillna(0.0) > NEAR


def rule(recovered: Recovered) -> str:
    """What `short` goes by."""
    return (
        f"Coverage is called too low where it is more than {100 * NEAR:g} percentage points below "
        f"{recovered.level} even after {ALLOWED} Monte Carlo standard errors are added to it."
    )


def judge(recovered: Recovered, engine: str) -> str:
    """Where one engine's coverage is too low, and where it is low within the allowance; empty without intervals.

    The sentence goes on from `reml's`.
    """
    rows = pd.concat([recovered.rows(name, engine=engine) for name in ("coverage", "ranef_coverage")])
    rows = rows[rows["effect"].isin(["fixed", "ran_pars", "ranef"])]
    if not len(rows):
        return ""
    bad = short(recovered, rows)
    within = int(((recovered.conf_level - rows["estimate"] > NEAR) & ~bad).sum())
    of = "combinations of design and term" if len(recovered.designs) > 1 else "terms"
    said = f"{recovered.level} intervals: coverage too low in {int(bad.sum()) or 'none'} of {len(rows)} {of}"
    if bad.any():
        said += f" ({_lowest(recovered, rows[bad])})"
    else:
        said += f"; the lowest is {_lowest(recovered, rows.nsmallest(1, 'estimate'))}"
    if within:
        limit = percent(recovered.conf_level - NEAR)
        said += f"; below {limit} within Monte Carlo error in {within}"
    return f"{said}."


def _lowest(recovered: Recovered, rows: pd.DataFrame) -> str:
    """The lowest coverages with term and design; how many more there are."""
    named = []
    for _, row in rows.nsmallest(NAMED, "estimate").iterrows():
        own = row["effect"] == "ranef"
        term = f"the group effects of {row['term']}" if own else spoken(row["term"])
        where = recovered.beside(row)
        named.append(f"{share(row['estimate'], row['mcse'])} for {term}{where}")
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    return listed([*named, *more])


def effects(recovered: Recovered) -> list[str]:
    """How well the groups' own effects are ranked; empty where no engine estimates them."""
    rank = recovered.rows("ranef_rank_correlation")
    if not len(rank):
        return []
    low, high = rank.loc[rank["estimate"].idxmin()], rank.loc[rank["estimate"].idxmax()]
    ends = [
        f"{fixed(row['estimate'], 2)} ({row['term']}, {label(row['engine'])}" + f"{recovered.beside(row)})"
        for row in (low, high)
    ]
    return [f"The rank correlation of group effects with the true ones runs from {ends[0]} to {ends[1]}."]


def failures(recovered: Recovered) -> list[str]:
    """How many fits cannot be used, by engine, with their most frequent messages."""
    table = statuses(recovered)
    said = []
    for engine in recovered.engines:
        mine = table[table["engine"] == engine]
        counts = {name: int(mine[name].sum()) for name in STATUSES if name in mine and mine[name].sum()}
        total, failed = sum(counts.values()), {k: v for k, v in counts.items() if k not in USABLE}
        parts = [f"{v:,} {k}" for k, v in counts.items() if k != "ok"]
        if not parts:
            said.append(f"{label(engine)}: all {total:,} fits ok.")
            continue
        rate = f"{fixed(100 * sum(failed.values()) / total, 2)} % not usable" if failed else "all usable"
        said.append(f"{label(engine)}: of {total:,} fits {listed(parts)} ({rate}).")
    common = recovered.rows("bias", "common")
    if len(common) and len(recovered.engines) > 1:
        size = common["n_used"] + common["n_missing"]
        least, most = int(size.min()), int(size.max())
        span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        said.append(f"Every engine managed {span} of {recovered.n_replicates:,} replicates per design.")
    return said


def calibration(recovered: Recovered) -> list[str]:
    """Verdicts of simulation-based calibration, in words."""
    table = recovered.tables["calibration"]
    if not len(table):
        return ["No ranks were computed."]
    few, wrong = table[table["verdict"] == "too few"], table[table["verdict"] == "not calibrated"]
    judged = len(table) - len(few)
    n = int(np.max(table["n"]))
    level = f"{100 * float(table['level'].iloc[0]):g} %"
    source = "the priors and the data from the model"
    if own_data(recovered):
        source = (
            "the posterior of the observed data, and fitted with these and new data together (posterior SBC)"
        )
    how = (
        f"In each of {n:,} replicates the parameters were drawn from {source}, and the true values ranked among the "
        "posterior draws, thinned to their effective sample size. If sampler and model "
        "agree with the simulator, all ranks are uniform."
    )
    said = []
    if judged and not len(wrong):
        said.append(
            f"All {judged} quantities are calibrated: none leaves what uniform ranks would do together with "
            f"probability {level} (Holm's adjustment over the quantities)."
        )
    said += [
        f"{capital(quantity_name(row.quantity))} is NOT calibrated (adjusted {p_said(p_value(row.p_adjusted))}): "
        f"{row.finding}."
        for row in wrong.head(MOST_MESSAGES).itertuples()
    ]
    if len(wrong) > MOST_MESSAGES:
        said.append(f"{len(wrong) - MOST_MESSAGES} more quantities are not calibrated; see the table.")
    said.append(how)
    if len(few):
        said.append(
            f"{counted(len(few), 'quantity has', 'quantities have')} too few usable replicates to be judged."
        )
    data = table[(table["kind"] == "data") & (table["verdict"] != "too few")]
    if len(data):
        said.append(
            f"{counted(data['quantity'].nunique(), 'quantity depends', 'quantities depend')} on the data (log "
            "likelihood, random effects): only such quantities notice a likelihood left out (Modrák et al. 2023)."
        )
    lost = int(table["n_failed"].max())
    if lost:
        said.append(f"{counted(lost, 'fit')} could not be used and {'is' if lost == 1 else 'are'} left out.")
    return said


def methods(recovered: Recovered) -> str:
    """How the study was done, as one quotable paragraph."""
    designs = counted(len(recovered.designs), "design")
    engines = listed([label(name) for name in recovered.engines])
    origin = (
        "a fit of the observed data"
        if own_data(recovered)
        else f"each of {designs}"
        if len(recovered.designs) > 1
        else "one design"
    )
    said = [
        f"We simulated {counted(recovered.n_replicates, 'data set')} from {origin}, reported after Morris, "
        f"White & Crowther (2019), and fitted {recovered.settings.get('formula', 'the model')} to each by {engines}. "
        "Every data set has its own addressed stream of random numbers and was seen by all engines. Fits that did "
        "not converge or failed a gate were counted, not used, and not redrawn; singular fits were used."
    ]
    if "calibration" in recovered.tables:
        level = recovered.tables["calibration"]["level"].max()
        said.append(
            "Simulation-based calibration (Talts et al. 2018; Modrák et al. 2023) compared the ranks of parameters "
            "and data-dependent quantities with uniform ones by the simultaneous bands of Säilynoja, Bürkner & "
            f"Vehtari (2022), at {100 * level:g} % over all quantities (Holm)."
        )
    return " ".join([*said, "The analysis ran as a Snakemake workflow (Mölder et al. 2021)."])
