"""Importance sampling against NUTS of the same marginal model, and of the full model in plain PyMC on the rows.

The full model shares no code with the engine: rows, dummy variables, non-centred random effects. By hand, a table of
the largest differences: `python tests/test_several_full.py words`.
"""

import sys

import numpy as np
import pandas as pd
import pytest

from lmm.config.engines import Pymc
from lmm.engines.pymc.gates import ess_mean
from lmm.engines.pymc.several_fit import fit_several
from several import Model, reference

# (mean, sd) of normal priors of the fixed effects, sd of half-normal ones; weak against these data
PRIORS = {
    "words": ({"Intercept": (480.0, 200.0), "cond": (0.0, 100.0)}, 100.0, 150.0),
    "penicillin": ({"Intercept": (23.0, 10.0)}, 3.0, 2.0),
    "pastes": ({"Intercept": (60.0, 20.0)}, 5.0, 2.0),
}


def by_engine(model: Model, name: str, sampler: str) -> pd.DataFrame:
    """Mean and Monte Carlo error of every parameter and random effect by (group, level, term)."""
    fixed, sd, sigma = PRIORS[name]
    priors = {
        "fixed": {term: f"normal({mean}, {own})" for term, (mean, own) in fixed.items()},
        "sd": f"half_normal({sd})",
        "sigma": f"half_normal({sigma})",
        "corr": "lkj(2)",
    }
    settings = Pymc(priors=priors, sampler=sampler, keep_draws=0).plain() | {"conf_level": 0.95}
    fit, _ = fit_several(model.moments, model.terms, settings)
    assert (fit.diagnostics.status, fit.diagnostics.summary["sampler"]) == ("ok", sampler)
    both = pd.concat([fit.parameters.assign(level=""), fit.ranef]).fillna({"group": ""})
    table = both.set_index(["group", "level", "term"])[["estimate", "mcse_mean"]]
    return table.set_axis(["mean", "mcse"], axis=1)


def by_full_model(model: Model, name: str) -> pd.DataFrame:
    """The same from draws of everything."""
    import nutpie
    import pymc as pm
    import pytensor.tensor as pt

    fixed, sd, sigma = PRIORS[name]
    names = {}
    with pm.Model() as full:
        mu = 0.0
        for k, (term, (mean, own)) in enumerate(fixed.items()):
            mu = mu + pm.Normal(f"beta_{k}", mean, own) * model.X[:, k]
            names["", "", term] = f"beta_{k}"
        for k, (grouping, Z) in enumerate(zip(model.terms.groupings, model.Z, strict=True)):
            group, random, count = grouping.group, grouping.random, Z.shape[1]
            sds = [pm.HalfNormal(f"sd_{k}_{a}", sd) for a in range(len(random))]
            z = pm.Normal(f"z_{k}", 0.0, 1.0, shape=(len(random), count))
            u = [sds[0] * z[0]]
            if len(random) == 2:  # LKJ(2) of one correlation is a beta on (-1, 1)
                r = pm.Deterministic(f"cor_{k}", 2.0 * pm.Beta(f"unit_{k}", 2.0, 2.0) - 1.0)
                u.append(sds[1] * (r * z[0] + pt.sqrt(1.0 - r**2) * z[1]))
                names[group, "", f"cor__{'.'.join(random)}"] = f"cor_{k}"
            codes = Z[:, :, 0].argmax(axis=1)  # the intercept's column: 1 in the row's level
            levels = model.moments.of(group).levels
            for a, term in enumerate(random):
                names[group, "", f"sd__{term}"] = f"sd_{k}_{a}"
                own = pm.Deterministic(f"u_{k}_{a}", u[a])
                names |= {(group, str(level), term): f"u_{k}_{a}[{j}]" for j, level in enumerate(levels)}
                mu = mu + own[codes] * Z[:, :, a].sum(axis=1)
        pm.Normal("y", mu, pm.HalfNormal("sigma", sigma), observed=model.y)
        names["Residual", "", "sd__Observation"] = "sigma"
    compiled = nutpie.compile_pymc_model(full)
    tree = nutpie.sample(
        compiled, draws=3000, tune=1500, chains=4, cores=1, seed=5, target_accept=0.95, progress_bar=False
    )
    posterior, rows = tree["posterior"], {}
    for key, own in names.items():
        variable, _, place = own.partition("[")
        draws = posterior[variable].to_numpy()
        rows[key] = draws[..., int(place[:-1])] if place else draws
    draws = np.stack(list(rows.values()))
    flat = draws.reshape(len(draws), -1)
    found = {"mean": flat.mean(axis=1), "mcse": flat.std(axis=1) / np.sqrt(ess_mean(draws))}
    return pd.DataFrame(found, pd.MultiIndex.from_tuples(rows, names=["group", "level", "term"]))


def differences(name: str) -> pd.DataFrame:
    """Importance sampling's mean less the other two's, in Monte Carlo errors of the difference."""
    model = reference(name)
    base = by_engine(model, name, "importance")
    found = {}
    for other, table in (
        ("nuts", by_engine(model, name, "nuts")),
        ("full", by_full_model(model, name)),
    ):
        assert set(table.index) == set(base.index)
        table = table.reindex(base.index)
        found[other] = (base["mean"] - table["mean"]) / np.hypot(base["mcse"], table["mcse"])
    return pd.DataFrame(found)


@pytest.mark.parametrize("name", list(PRIORS))
def test_three_samplers_agree(name):
    """Every mean within four Monte Carlo errors: of 70 to 160 means, half of them of effects that hang together."""
    away = differences(name)
    assert len(away) > 25
    assert (away.abs() < 4.0).all(axis=None), away[(away.abs() >= 4.0).any(axis=1)]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        away = differences(name).abs()
        worst = ", ".join(
            f"{other}: {away[other].max():.2f} ({'|'.join(away[other].idxmax())})" for other in away
        )
        print(f"{name}: {len(away)} means, largest differences in Monte Carlo errors: {worst}", flush=True)
