"""Replicates made without fitting anything, for the tests of performance measures, figures and report.

Estimates of fixed effects are normal around the truth with their own standard error; those of sd's are square roots
of a moment estimator of the variance, cut at 0, so that they pile up there as REML's do.
"""

import itertools

import numpy as np
import pandas as pd

ENGINES = ("ols", "mixedlm", "reml", "pymc")
Z = 1.959963984540054


GROUPS = {"fixed": "", "explained": "", "ran_pars": "group", "ranef": "group", "": ""}


def table(rng, groups=(10, 30), rows=(5, 20), replicates=200, engines=ENGINES, failed=0.05, sd_x=1.0):
    """The long table of a study: designs groups x rows, with singular, failed and skipped fits."""
    parts = []
    for k, (g, r) in enumerate(itertools.product(groups, rows)):
        about = {"design": f"{k:012x}", "groups": g, "rows_per_group": r}
        shared = rng.standard_normal((replicates, 4))
        parts += [_fits(rng, about, engine, g, r, shared, failed, sd_x) for engine in engines]
    return pd.concat(parts, ignore_index=True)


def _fits(rng, about, engine, groups, rows, shared, failed, sd_x):
    n = len(shared)
    noise = {"ols": 0.6, "mixedlm": 0.1, "reml": 0.0, "pymc": 0.15}[engine]
    own = shared + noise * rng.standard_normal(shared.shape)
    status = np.full(n, "ok", dtype=object)
    message = np.full(n, "", dtype=object)
    if engine in ("mixedlm", "pymc"):
        bad = rng.random(n) < failed * (2 if groups == 10 else 0.2)
        status[bad] = "non-converged" if engine == "mixedlm" else "gate-failed"
        message[bad] = (
            "no convergence after 200 iterations" if engine == "mixedlm" else "rhat 1.02 (limit 1.01)"
        )
    blocks = []
    for j, (term, truth) in enumerate((("Intercept", 3.0), ("x", 0.5))):
        se = np.sqrt(1 / groups + 1 / (groups * rows))
        s = se * np.sqrt(rng.chisquare(groups, n) / groups) * (0.5 if engine == "ols" else 1)
        blocks.append(("fixed", term, truth, truth + se * own[:, j], s))
    if engine != "ols":
        extra = 1.0 + (2.0 / groups if engine == "pymc" else 0)
        for j, (term, truth) in enumerate((("sd__Intercept", 2.0), ("sd__x", sd_x))):
            spread = (truth**2 + 1 / rows) * np.sqrt(2 / groups)
            e = np.sqrt(np.maximum(truth**2 + spread * own[:, 2 + j], 0)) * extra
            if engine == "pymc":
                e = np.maximum(e, 0.02)
            s = np.where(e > 0, spread / (2 * np.maximum(e, 0.3)), np.nan)
            blocks.append(("ran_pars", term, truth, e, s))
            status[(e == 0) & (status == "ok")] = "singular"
    sigma = 1 + own[:, 0] / np.sqrt(2 * groups * rows) + (1.0 if engine == "ols" else 0)
    blocks.append(("ran_pars", "sd__Observation", 1.0, sigma, np.full(n, 1 / np.sqrt(2 * groups * rows))))
    if engine != "ols":
        blocks.append(("explained", "johnson", 0.8, 0.8 + 0.05 * own[:, 2], np.full(n, np.nan)))
        for name, level in (("rmse", 0.3), ("coverage", 0.95), ("shrinkage", 0.2), ("rank_correlation", 0.9)):
            value = np.clip(level + 0.03 * own[:, 3], 0, 1)
            blocks.append(("ranef", f"Intercept: {name}", np.nan, value, np.full(n, np.nan)))
    usable = np.isin(status.astype(str), ("ok", "singular"))
    parts = []
    for effect, term, truth, e, s in blocks:
        s = np.nan_to_num(s) if effect == "ran_pars" else s
        part = pd.DataFrame(
            about
            | {
                "replicate": np.arange(n),
                "engine": engine,
                "effect": effect,
                "group": GROUPS[effect],
                "term": term,
            }
        )
        part["df"] = "satterthwaite" if (engine, effect) == ("reml", "fixed") else ""
        part = part.assign(truth=truth, estimate=np.where(usable, e, np.nan))
        part["std_error"] = np.where(usable & (s > 0), s, np.nan)
        half = Z * np.where(s > 0, s, 0.5)
        part["conf_low"] = np.where(usable, e - half, np.nan)
        part["conf_high"] = np.where(usable, e + half, np.nan)
        if effect == "ran_pars":
            part["conf_low"] = part["conf_low"].clip(lower=0)
        if effect in ("explained", "ranef"):
            part[["conf_low", "conf_high"]] = np.nan
        parts.append(part)
    long = pd.concat(parts, ignore_index=True)
    at = long["replicate"].to_numpy()
    sampler = "importance" if engine == "pymc" else ""
    return long.assign(status=status[at].astype(str), message=message[at].astype(str), sampler=sampler)


def uniform_ranks(
    rng, n=500, n_ranks=100, quantities=("Intercept", "sd__x", "log_likelihood", "icc"), design="d"
):
    """Ranks of a calibrated sampler."""
    return pd.concat(
        [
            pd.DataFrame({
                "design": design, "replicate": np.arange(n), "quantity": name, "rank": rng.integers(n_ranks, size=n),
                "n_ranks": n_ranks, "ess": rng.uniform(400, 900, n), "status": "ok",
            })
            for name in quantities
        ],
        ignore_index=True,
    )  # fmt: skip
