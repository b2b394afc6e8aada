"""Performance measures from sums over replicates that can be added up: nothing is kept of a replicate.

A row has the sums of a block of replicates of one engine's term, over the replicates that a subset keeps. Blocks end
at fixed numbers of replicates, and their sums are added in order, so that the measures are the same bits whatever
the chunks. Sums are of errors e - t and their powers, which do not cancel as those of estimates would.

Estimates equal those of `measures`. Monte Carlo errors do, too, but for two: RMSE's, and that of an EmpSE of
estimates that pile up at a boundary, are by the delta method instead of the jackknife (they differ by a share of the
order of 1 / n). Bias-eliminated coverage needs a second pass over the replicates and is left out.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmm.recovery.compact import STATUSES, Fits
from lmm.recovery.grid import USABLE, place
from lmm.recovery.measures import Measured
from lmm.recovery.performance import COLUMNS, SUBSETS, Targets, needed

KEYS = ("design", "engine", "effect", "group", "term", "df", "subset", "block")
SUMS = (
    "kept", "n", "truth", "d1", "d2", "d3", "d4", "q1", "q2", "nq",  # errors, and errors relative to the truth
    "ns", "s2", "s4", "sd1", "sd2", "sd3", "sd4",  # standard errors, and errors of the fits that have one
    "ni", "covered", "excludes", "nw", "w1", "w2", "null", "null_excludes", "zero", "edge",
    "np", "o1", "o2", "r1", "r2", "or",  # errors beside those of the reference engine
)  # fmt: skip


def of_block(design: str, block: Mapping[str, Fits], reference: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sums of a block of replicates, and how its fits ended.

    Parameters
    ----------
    design : str
        Its key.
    block : mapping of engine to Fits
        Of the same replicates.
    reference : str
        Engine that relative precision refers to.

    Returns
    -------
    sums, endings : DataFrame
        `KEYS` and `SUMS`; design, engine, block, status, message, count.
    """
    number = next(iter(block.values())).first
    common = np.logical_and.reduce([fits.usable for fits in block.values()])
    rows, endings = [], []
    for engine, fits in block.items():
        texts = [fits.messages.get(at, "") if code else "" for at, code in enumerate(fits.status.tolist())]
        counted = pd.Series(list(zip(fits.status.tolist(), texts, strict=True))).value_counts(sort=False)
        endings += [
            (design, engine, number, STATUSES[code], text, count) for (code, text), count in counted.items()
        ]
        for subset, keep in (("usable", fits.usable), ("common", fits.usable & common)):
            found = _sums(fits, keep)
            if engine != reference and reference in block:
                found |= _beside(fits, block[reference], keep)
            for k, key in enumerate(fits.keys):
                own = [float(found[name][k]) if name in found else 0.0 for name in SUMS]
                rows.append((design, engine, *key, subset, number, *own))
    names = ["design", "engine", "block", "status", "message", "count"]
    return pd.DataFrame(rows, columns=[*KEYS, *SUMS]), pd.DataFrame(endings, columns=names)


def _total(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0.0).sum(axis=0)


def _sums(fits: Fits, keep: np.ndarray) -> dict[str, np.ndarray]:
    """By term."""
    e, s, low, high = (np.where(keep[:, None], fits.values[name], np.nan) for name in
                       ("estimate", "std_error", "conf_low", "conf_high"))  # fmt: skip
    t = fits.truth
    d = np.where(np.isfinite(t), e - t, e)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(t != 0.0, (e - t) / t, np.nan)
        with_s = np.where(np.isfinite(s), d, np.nan)
        there = ~np.isnan(low) & ~np.isnan(high)
        covered = there & (low <= t) & (t <= high)
        excludes = there & ~((low <= 0.0) & (high >= 0.0))
        width = np.where(there, high - low, np.nan)
        edge = np.abs(e) == np.array([1.0 if key[2].startswith("cor__") else 0.0 for key in fits.keys])
    found = {"kept": np.full(len(t), float(keep.sum())), "n": np.isfinite(e).sum(axis=0)}
    found |= {"truth": np.where(np.isfinite(t), keep.sum() * t, 0.0), "q1": _total(relative)}
    found |= {f"d{k}": _total(d**k) for k in (1, 2, 3, 4)} | {
        f"sd{k}": _total(with_s**k) for k in (1, 2, 3, 4)
    }
    found |= {"q2": _total(relative**2), "nq": np.isfinite(relative).sum(axis=0)}
    found |= {"ns": np.isfinite(with_s).sum(axis=0), "s2": _total(s**2), "s4": _total(s**4)}
    found |= {"ni": (there & np.isfinite(t)).sum(axis=0), "covered": covered.sum(axis=0)}
    found |= {"excludes": excludes.sum(axis=0), "w1": _total(width), "w2": _total(width**2)}
    found |= {"nw": np.isfinite(width).sum(axis=0)}
    found |= {"null": np.where(t == 0.0, there.sum(axis=0), 0)}
    found |= {"null_excludes": np.where(t == 0.0, excludes.sum(axis=0), 0)}
    return found | {"zero": (e == 0.0).sum(axis=0), "edge": edge.sum(axis=0)}


def _beside(fits: Fits, other: Fits, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of an engine and the reference over the replicates of both, by term; 0 for a term that it lacks."""
    found = {name: np.zeros(len(fits.keys)) for name in ("np", "o1", "o2", "r1", "r2", "or")}
    places = {key[:3]: k for k, key in reversed(list(enumerate(other.keys)))}
    for k, key in enumerate(fits.keys):
        if key[:3] not in places:
            continue
        both = keep & other.usable
        ours = (fits.values["estimate"][:, k] - np.nan_to_num(fits.truth[k]))[both]
        theirs = (other.values["estimate"][:, places[key[:3]]] - np.nan_to_num(fits.truth[k]))[both]
        real = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[real], theirs[real]
        values = (
            len(ours),
            ours.sum(),
            (ours**2).sum(),
            theirs.sum(),
            (theirs**2).sum(),
            (ours * theirs).sum(),
        )
        for name, value in zip(found, values, strict=True):
            found[name][k] = value
    return found


def added(parts: pd.DataFrame) -> pd.DataFrame:
    """Sums over all blocks of a table, in the order of the blocks: a row per term and subset."""
    keys = [name for name in KEYS if name != "block"]
    ordered = parts.sort_values("block", kind="stable")
    return ordered.groupby(keys, sort=False, as_index=False)[list(SUMS)].sum()


def measures(sums: pd.DataFrame, effect: str, term: str) -> dict[str, Measured]:
    """Every measure that sums give for one engine's term: (estimate, mcse, n), each a value per row of `sums`.

    Parameters
    ----------
    sums : DataFrame
        A row for each design.
    effect, term : str
        Which measures make sense.

    Returns
    -------
    dict
        As in `performance`.
    """
    v = {name: sums[name].to_numpy(float) for name in SUMS}
    bias, bias_mcse, n = _mean(v["n"], v["d1"], v["d2"])
    piled = (v["edge"] > 0) if effect == "ran_pars" else np.zeros(len(sums), dtype=bool)
    found = {
        "bias": (bias, bias_mcse, n),
        "relative_bias": _mean(v["nq"], v["q1"], v["q2"]),
        "empirical_se": _spread(v["n"], v["d1"], v["d2"], v["d3"], v["d4"], piled),
        "mse": (mse := _mean(v["n"], v["d2"], v["d4"])),
    }
    root = np.sqrt(mse[0])
    found["rmse"] = (root, _ratio(mse[1], 2.0 * root), n)
    variance, variance_mcse, ns = _mean(v["ns"], v["s2"], v["s4"])
    size = np.sqrt(variance)
    found["model_se"] = (size, _ratio(variance_mcse, 2.0 * size), ns)
    spread, spread_mcse, _ = _spread(v["ns"], v["sd1"], v["sd2"], v["sd3"], v["sd4"], piled)
    ratio = _ratio(size, spread)
    relative = np.sqrt(_ratio(variance_mcse, 2.0 * variance) ** 2 + _ratio(spread_mcse, spread) ** 2)
    found["model_se_error"] = (100.0 * (ratio - 1.0), 100.0 * ratio * relative, ns)
    found["coverage"] = _proportion(v["covered"], v["ni"])
    found["width"] = _mean(v["nw"], v["w1"], v["w2"])
    if effect == "fixed":
        found["power"] = _proportion(v["excludes"], v["ni"])
        found["type_1_error"] = _proportion(v["null_excludes"], v["null"])
    if effect == "ran_pars" and term.startswith("sd__"):
        found["p_zero"] = _proportion(v["zero"], v["n"])
    if v["np"].any():
        ours = v["o2"] - _ratio(v["o1"] ** 2, v["np"])
        theirs = v["r2"] - _ratio(v["r1"] ** 2, v["np"])
        both = v["or"] - _ratio(v["o1"] * v["r1"], v["np"])
        gain = _ratio(theirs, ours)
        rho2 = np.minimum(_ratio(both**2, ours * theirs), 1.0)
        mcse = 200.0 * gain * np.sqrt(_ratio(1.0 - rho2, v["np"] - 1.0))
        found["relative_precision"] = (100.0 * (gain - 1.0), mcse, v["np"])
    return {name: (estimate, mcse, count.astype(int)) for name, (estimate, mcse, count) in found.items()}


def performance(parts: pd.DataFrame, endings: pd.DataFrame, designs: pd.DataFrame) -> pd.DataFrame:
    """Every measure by design, engine, group and term: `performance.performance` of what was only summed up.

    Parameters
    ----------
    parts, endings : DataFrame
        From `of_block`, of all blocks.
    designs : DataFrame
        design and its columns, in order.

    Returns
    -------
    DataFrame
        The design's columns and `performance.COLUMNS`.
    """
    whole, rows = added(parts), []
    counts = endings.pivot_table(
        index=["design", "engine"], columns="status", values="count", aggfunc="sum", fill_value=0
    ).reindex(columns=list(STATUSES), fill_value=0)
    attempted, usable = counts.sum(axis=1), counts[list(USABLE)].sum(axis=1)
    about = pd.DataFrame({"n_failed": attempted - usable, "n_replicates": attempted})
    for engine, own in counts.groupby("engine"):
        index = own.index
        found = {
            "failure_rate": _proportion(
                about.loc[index, "n_failed"].to_numpy(float), attempted[index].to_numpy(float)
            ),
            "singular_rate": _proportion(own["singular"].to_numpy(float), usable[index].to_numpy(float)),
        }
        keys = {"engine": engine, "effect": "", "group": "", "term": "", "df": "", "subset": "usable"}
        kept = {"failure_rate": attempted[index].to_numpy(), "singular_rate": attempted[index].to_numpy()}
        rows += _rows(index.get_level_values("design"), keys, found, np.full(len(own), np.nan), kept, about)
    for subset in SUBSETS:
        mine = whole[whole["subset"] == subset]
        for key, own in mine.groupby(["engine", "effect", "group", "term", "df"], sort=False):
            keys = dict(zip(("engine", "effect", "group", "term", "df"), key, strict=True)) | {
                "subset": subset
            }
            found = measures(own, keys["effect"], keys["term"])
            truth = _ratio(own["truth"].to_numpy(), own["kept"].to_numpy())
            kept = dict.fromkeys(found, own["kept"].to_numpy().astype(int))
            rows += _rows(own["design"], keys, found, truth, kept, about)
    table = designs.reset_index(drop=True).reset_index(names="_design").merge(pd.concat(rows), on="design")
    table["_engine"] = table["engine"].map(place)
    table = table.sort_values(["_design", "_engine"], kind="stable", ignore_index=True)
    return table[[*designs.columns, *COLUMNS[1:]]]


def _rows(designs, keys, found, truth, kept, about) -> list[pd.DataFrame]:
    """A row for each design and measure."""
    ends = about.loc[[(design, keys["engine"]) for design in designs]]
    parts = []
    for measure, (estimate, mcse, n) in found.items():
        n = np.asarray(n).astype(int)
        parts.append(pd.DataFrame({"design": np.asarray(designs), **keys, "truth": truth, "measure": measure,
            "estimate": estimate, "mcse": mcse, "n_used": n, "n_missing": kept[measure] - n,
            "n_failed": ends["n_failed"].to_numpy(), "n_replicates": ends["n_replicates"].to_numpy(),
            "n_needed": needed(measure, estimate, mcse, n, truth, Targets())}))  # fmt: skip
    return parts


def failures(endings: pd.DataFrame, designs: pd.DataFrame) -> pd.DataFrame:
    """How the fits ended: `performance.failures` of what was only summed up.

    Parameters
    ----------
    endings : DataFrame
        From `of_block`, of all blocks.
    designs : DataFrame
        design and its columns, in order.

    Returns
    -------
    DataFrame
        The design's columns, engine, status, sampler (none), message, count.
    """
    counted = (
        endings.groupby(["design", "engine", "status", "message"], sort=False)["count"].sum().reset_index()
    )
    table = designs.reset_index(drop=True).reset_index(names="_design").merge(counted, on="design")
    table["_engine"], table["_status"] = table["engine"].map(place), table["status"].map(STATUSES.index)
    order = ["_design", "_engine", "_status", "count", "message"]
    table = table.sort_values(order, ascending=[True, True, True, False, True], ignore_index=True)
    table.insert(table.columns.get_loc("message"), "sampler", "")  # no engine here has draws
    return table.drop(columns=["_design", "_engine", "_status"])


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _mean(n: np.ndarray, first: np.ndarray, second: np.ndarray) -> Measured:
    mean = _ratio(first, n)
    variance = np.maximum(_ratio(second - n * mean**2, n - 1.0), 0.0)
    return mean, np.sqrt(_ratio(variance, n)), n


def _proportion(events: np.ndarray, n: np.ndarray) -> Measured:
    share = _ratio(events, n)
    return share, np.sqrt(_ratio(share * (1.0 - share), n)), n


def _spread(n, d1, d2, d3, d4, piled) -> Measured:
    """Standard deviation (divisor n - 1); where `piled` its MCSE from the fourth central moment."""
    mean = _ratio(d1, n)
    second = _ratio(d2, n) - mean**2
    fourth = _ratio(d4, n) - 4.0 * mean * _ratio(d3, n) + 6.0 * mean**2 * _ratio(d2, n) - 3.0 * mean**4
    spread = np.sqrt(np.maximum(_ratio(n * second, n - 1.0), 0.0))
    normal = _ratio(spread, np.sqrt(2.0 * np.maximum(n - 1.0, 0.0)))
    delta = _ratio(np.sqrt(_ratio(np.maximum(fourth - second**2, 0.0), n)), 2.0 * spread)
    return spread, np.where(piled, delta, normal), n
