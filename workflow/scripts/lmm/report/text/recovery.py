"""A recovery study in sentences: aims and methods (ADEMP), plain answers, failures, calibration: all from results."""

import pandas as pd

from lmm.core import engines as catalogue
from lmm.core.parameters import spoken
from lmm.core.tidy import RESIDUAL
from lmm.core.words import counted, fixed, given, label, listed, percent, share, with_error
from lmm.recovery.grid import STATUSES, USABLE
from lmm.results.replicated import Recovered, axis_name, axis_value, statuses, truths

# Coverage is too low if it is more than this below nominal even with so many Monte Carlo standard errors added
NEAR, ALLOWED = 0.025, 3


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
    settings = recovered.engine_settings(engine)
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
    said.append(usable(recovered))
    return [*said, rule(recovered)] if judged else said


def _hardest(recovered: Recovered, engines: list[str]) -> list[str]:
    """The design and sd whose bias is largest for the reference engine, and what every engine makes of them.

    In percent of the truth where that is far from 0; of other truths the largest bias in the estimate's unit.
    """
    sds = pd.concat([recovered.rows(name, effect="ran_pars") for name in ("relative_bias", "bias")])
    sds = sds[sds["term"].isin(recovered.random_terms()) & sds["engine"].isin(engines)]
    if not len(sds):
        return []
    far = recovered.far_from_zero(sds)
    relative = sds[(sds["measure"] == "relative_bias") & far]
    near = sds[(sds["measure"] == "bias") & (~far if len(relative) else True)]
    lead = _lead(recovered, relative if len(relative) else near, engines)
    worst = _largest(relative if len(relative) else near, lead)
    said = f"{label(lead)}'s largest bias of a random effect's SD is "
    said += _biases(recovered, relative if len(relative) else near, worst)
    if len(relative) and (near["engine"] == lead).any():
        row = _largest(near, lead)
        said += (
            "; where the true SD is less than one empirical SE from 0, the largest is "
            f"{_biases(recovered, near, row)} (true SD {given(row['truth'])})"
        )
    found = [f"{said}."]
    zero = recovered.rows("p_zero", term=worst["term"])
    zero = zero[(zero["engine"] == worst["engine"]) & (zero["design"] == worst["design"])]
    if len(zero) and zero["estimate"].iloc[0] >= 0.02:
        row = zero.iloc[0]
        times = share(row["estimate"], row["mcse"])
        found.append(
            f"{label(row['engine'])} estimates {spoken(row['term'])}{_where(recovered, row)} as exactly 0 in {times} "
            "of replicates."
        )
    return found


def _biases(recovered: Recovered, rows: pd.DataFrame, row: pd.Series) -> str:
    """A bias with term and design, and the other engines' there."""
    keys = ["design", "term"]
    there = rows[(rows[keys] == row[keys]).all(axis=1) & (rows["engine"] != row["engine"])]
    others = [f"{label(engine)}'s is {_bias(one)}" for engine, one in there.set_index("engine").iterrows()]
    said = f"{_bias(row)}, for {spoken(row['term'])}{_where(recovered, row)}"
    return f"{said}; {listed(others)} there" if others else said


def _largest(rows: pd.DataFrame, engine: str) -> pd.Series:
    """An engine's row of the largest size."""
    mine = rows[rows["engine"] == engine]
    return mine.loc[mine["estimate"].abs().idxmax()]


def _where(recovered: Recovered, row: pd.Series) -> str:
    return recovered.beside(recovered.designs.set_index("design").loc[row["design"]])


def _lead(recovered: Recovered, rows: pd.DataFrame, engines: list[str]) -> str:
    return next(name for name in (recovered.reference, *engines) if name in set(rows["engine"]))


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
    if bad.any():
        said = (
            f"cover too rarely in {int(bad.sum())} of {len(rows)} {of}: {_lowest(recovered, rows, rows[bad])}"
        )
        some = f" {within} more"
    else:
        row = rows.loc[rows["estimate"].idxmin()]
        low = share(row["estimate"], row["mcse"])
        said = f"cover often enough in all {len(rows)} {of}; the lowest coverage is {low}, for {_term(row)}"
        said += recovered.beside(row)
        some = f" {within}"
    if within:
        said += (
            f"; in{some}, coverage is below {percent(recovered.conf_level - NEAR)} within Monte Carlo error"
        )
    return f"{recovered.level} intervals {said}."


def _term(row: pd.Series) -> str:
    return f"the group effects of {row['term']}" if row["effect"] == "ranef" else spoken(row["term"])


def _lowest(recovered: Recovered, rows: pd.DataFrame, bad: pd.DataFrame) -> str:
    """Every term whose coverage is too low, with its lowest; of several designs in how many of them."""
    several, parts = len(recovered.designs) > 1, []
    for _, mine in bad.sort_values("estimate", kind="stable").groupby(
        ["effect", "group", "term"], sort=False
    ):
        row = mine.iloc[0]
        low, where = share(row["estimate"], row["mcse"]), recovered.beside(row)
        if not several:
            parts.append(f"{_term(row)} ({low})")
        elif len(mine) == 1:
            parts.append(f"{_term(row)}{where} ({low})")
        else:
            keys = ["effect", "group", "term"]
            of = int((rows[keys] == row[keys]).all(axis=1).sum())
            count = f"{len(mine)} of {of}" if len(mine) < of else "both" if of == 2 else f"all {of}"
            parts.append(f"{_term(row)} in {count} designs (lowest {low}{where})")
    return listed(parts)


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


def usable(recovered: Recovered) -> str:
    """Whether all fits could be used, and which could not."""
    table = statuses(recovered)
    names = [name for name in STATUSES if name in table]
    total = int(table[names].sum().sum())
    singular = int(table["singular"].sum()) if "singular" in table else 0
    lost = []
    for engine in recovered.engines:
        mine = table[table["engine"] == engine][names].sum()
        if failed := int(mine[[name for name in names if name not in USABLE]].sum()):
            lost.append(f"{failed:,} of {label(engine)}'s {int(mine.sum()):,}")
    if not lost:
        return f"All {total:,} fits could be used{f', {singular:,} singular ones among them' if singular else ''}."
    used = f"; {singular:,} singular ones were used" if singular else ""
    return f"Of {total:,} fits, {listed(lost)} could not be used and are left out{used}."


def failures(recovered: Recovered) -> list[str]:
    """How the fits ended, by engine; engines alike in one sentence."""
    table = statuses(recovered)
    alike: dict[str, list[str]] = {}
    for engine in recovered.engines:
        mine = table[table["engine"] == engine]
        counts = {name: int(mine[name].sum()) for name in STATUSES if name in mine and mine[name].sum()}
        total, failed = sum(counts.values()), {k: v for k, v in counts.items() if k not in USABLE}
        parts = [f"{v:,} {k}" for k, v in counts.items() if k != "ok"]
        rate = f"{fixed(100 * sum(failed.values()) / total, 2)} % not usable" if failed else "all usable"
        ended = f"of {total:,} fits {listed(parts)} ({rate})" if parts else f"all {total:,} fits ok"
        alike.setdefault(ended, []).append(label(engine))
    said = [
        f"{listed(names)}: {ended}{' by each' if len(names) > 1 else ''}." for ended, names in alike.items()
    ]
    common = recovered.rows("bias", "common")
    if len(common) and len(recovered.engines) > 1:
        size = common["n_used"] + common["n_missing"]
        least, most = int(size.min()), int(size.max())
        if least < recovered.n_replicates:
            span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
            said.append(
                f"In {span} of {recovered.n_replicates:,} replicates per design all engines' fits are usable."
            )
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
