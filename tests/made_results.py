"""A results tree made without the pipeline, for the tests of figures and report: the coffee study in quick numbers.

The numbers are real (coffee.csv, reml_exact of coffee.json, closed-form posteriors approximated by normal draws
around it), so that what the report says of them can be checked; the draws are seeded.
"""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from lmm.comparison import engines as comparison
from lmm.comparison import no_pooling
from lmm.core.columns import RANEF
from lmm.core.store import write_json, write_table
from lmm.core.tidy import PARAMETERS, Fit
from lmm.criticism import influence, several_influence, stage
from lmm.data.levels import encode
from lmm.data.rows import rows_of
from lmm.engines import ols, reml, several_reml
from lmm.inference import variance_explained
from lmm.model import design
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import accumulate
from lmm.moments.several import by_factor
from lmm.moments.stage import of_rows

REFERENCE = Path(__file__).parent / "reference"
ENGINES = ("ols", "mixedlm", "reml", "pymc")
COFFEE = Terms.one(("Intercept", "x"), (("Intercept", "x"),), "group", ("Intercept", "x"))
# as the plan gives them to the report
SETTINGS = {
    "title": "Does more coffee score higher?",
    "formula": "y ~ x + (x | group)",
    "simulate": True,
    "conf_level": 0.95,
    "engines": list(ENGINES),
    "configuration": {
        "formula": "y ~ x + (x | group)",
        "simulate": {
            "generator": "r",
            "seed": 1,
            "rows": 1000,
            "groups": 100,
            "fixed": {"Intercept": 3, "x": 0.5},
            "sd": {"Intercept": 10, "x": 1},
            "corr": 0,
            "sigma": 1,
        },
        "engines": {
            "ols": {},
            "mixedlm": {},
            "reml": {},
            "pymc": {
                "formula": "y ~ x + (x || group)",
                "chains": 4,
                "tune": 1000,
                "draws": 2000,
                "seed": 123,
            },
        },
    },
}


def paths(root: Path, study: str = "coffee", engines=ENGINES) -> dict[str, str]:
    """Inputs of figures and report, under the names that the rules give them."""
    base = root / study
    found = {
        "data": base / "data/data.parquet",
        "data_json": base / "data/data.json",
        "truth": base / "data/truth.json",
    }
    for engine in engines:
        found[f"{engine}_parameters"] = base / engine / "parameters.csv"
        found[f"{engine}_diagnostics"] = base / engine / "diagnostics.json"
        found[f"{engine}_ranef"] = base / engine / "ranef.parquet"
    found |= {"coef": base / "mixedlm/coef.parquet", "posterior": base / "pymc/posterior.nc"}
    found |= {
        name: base / f"comparison/{name}.csv"
        for name in ("variance_recovery", "ranef_differences", "variance_explained")
    }
    found |= {"influence": base / "reml/influence.parquet", "influence_about": base / "reml/influence.json"}
    found |= {"criticism": base / "pymc/criticism.json"}
    found |= {name: base / f"pymc/{name}.parquet" for name in ("loo", "replicates")}
    found |= {name: base / f"pymc/{name}.csv" for name in ("predictive", "sensitivity")}
    return {name: str(path) for name, path in found.items() if path.exists()}


VERSIONS = {
    "python": "3.13.0",
    "statsmodels": "0.15.0",
    "pymc": "6.4.0",
    "nutpie": "0.16.10",
    "arviz": "1.3.0",
}


def coffee(root: Path) -> Path:
    """Write results/coffee/ of the coffee study under `root` and return `root`."""
    shutil.copytree(_coffee(), root, dirs_exist_ok=True)
    return root


@cache
def _coffee() -> Path:
    """The same, made once: the directory to copy."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    root, study = Path(kept.name), "coffee"
    exact = json.loads((REFERENCE / "coffee.json").read_text())
    rows = pd.read_csv(REFERENCE / "coffee.csv")
    table = rows[["y", "x", "group"]].assign(group=rows["group"].astype(str))
    base = root / study
    levels = [str(k) for k in range(1, 101)]
    drawn = rows.drop_duplicates("group").set_index("group")[["b0_ran", "b1_ran"]]
    write_table(base / "data/data.parquet", table)
    write_json(base / "data/data.json", _data(table))
    write_json(base / "data/truth.json", _truth(drawn))
    reml, posterior = exact["reml_exact"], exact["posterior_exact"]
    truth = {
        "Intercept": 3,
        "x": 0.5,
        "sd__Intercept": 10,
        "sd__x": 1,
        "cor__Intercept.x": 0,
        "sd__Observation": 1,
    }
    estimate = reml["fixed"] | {
        "sd__Intercept": reml["sd"]["Intercept"],
        "sd__x": reml["sd"]["x"],
        "cor__Intercept.x": reml["corr"][0],
        "sd__Observation": reml["sigma"],
    }
    error = reml["se"] | {
        "sd__Intercept": 0.65,
        "sd__x": 0.075,
        "cor__Intercept.x": 0.12,
        "sd__Observation": 0.0245,
    }
    for engine in ("mixedlm", "reml"):
        _engine(
            base,
            engine,
            estimate,
            error,
            truth,
            np.array([reml["ranef"][level] for level in levels]),
            levels,
            drawn,
        )
    _ols(base, rows, _truth(drawn))
    _pymc(base, posterior, truth, levels, drawn)
    _criticism(base, rows)
    compare(base, _truth(drawn))
    return root


def _criticism(base: Path, rows: pd.DataFrame) -> None:
    """Influence of each group and criticism of the posterior, by the library."""
    names = COFFEE.fixed
    codes, levels = encode(rows["group"].astype(str))
    W = np.column_stack([np.ones(len(rows)), rows["x"]])
    moments = accumulate.compute(COFFEE, rows["y"].to_numpy(float), W, codes, levels)
    table, about = influence.influence(moments, names, (names,))
    write_table(base / "reml/influence.parquet", table)
    write_json(base / "reml/influence.json", about)
    settings = {
        "priors": {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"},
        "seed": 1,
        "conf_level": 0.95,
    }
    with xr.open_datatree(base / "pymc/posterior.nc") as tree:
        found = stage.criticise(moments, names, (("Intercept",), ("x",)), tree, settings)
    suffix = {"about": "criticism.json", "loo": "loo.parquet", "replicates": "replicates.parquet"}
    suffix |= {"predictive": "predictive.csv", "sensitivity": "sensitivity.csv"}
    found.write(**{name: str(base / "pymc" / file) for name, file in suffix.items()})


def _data(table: pd.DataFrame) -> dict:
    columns = {
        name: {
            "type": "numeric",
            "min": table[name].min(),
            "max": table[name].max(),
            "mean": table[name].mean(),
            "sd": table[name].std(),
        }
        for name in ("y", "x")
    }
    return {
        "sources": ["simulated"],
        "rows": 1000,
        "groups": 100,
        "group": "group",
        "factors": [{"group": "group", "columns": ["group"], "levels": 100, "rows": {}}],
        "response": "y",
        "dropped": {},
        "columns": columns | {"group": {"type": "categorical", "levels": []}},
        "checks": [],
        "copied": True,
    }


def _truth(drawn: pd.DataFrame) -> dict:
    effects = {"Intercept": drawn["b0_ran"], "x": drawn["b1_ran"]}
    return {
        "fixed": {"Intercept": 3, "x": 0.5},
        "sd": {"Intercept": 10, "x": 1},
        "corr": {"Intercept.x": 0},
        "sigma": 1,
        "realised": {
            "sd": {term: float(values.std()) for term, values in effects.items()},
            "corr": {"Intercept.x": float(np.corrcoef(*effects.values())[0, 1])},
            "sigma": 0.985,
        },
        "ranef": {term: {str(k): float(v) for k, v in values.items()} for term, values in effects.items()},
        "seed": 1,
        "generator": "r",
    }


def _parameters(engine: str, estimate: dict, error: dict, truth: dict) -> pd.DataFrame:
    rows = []
    for term, value in estimate.items():
        fixed = "__" not in term
        rows.append(
            {
                "engine": engine,
                "effect": "fixed" if fixed else "ran_pars",
                "group": "" if fixed else ("Residual" if term == "sd__Observation" else "group"),
                "term": term,
                "estimate": value,
                "std_error": error.get(term, np.nan),
                "statistic": value / error[term] if fixed else np.nan,
                "p_value": np.nan,
                "conf_low": value - 1.96 * error.get(term, np.nan),
                "conf_high": value + 1.96 * error.get(term, np.nan),
                "truth": truth.get(term, np.nan),
            }
        )
    return pd.DataFrame(rows).reindex(columns=PARAMETERS)


def _ranef(values: np.ndarray, levels: list, drawn: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for k, (term, column, se) in enumerate((("Intercept", "b0_ran", 0.95), ("x", "b1_ran", 0.38))):
        part = pd.DataFrame({"group": "group", "level": levels, "term": term, "estimate": values[:, k]})
        part = part.assign(
            std_error=se,
            cond_sd=se / 3,
            conf_low=values[:, k] - 1.96 * se,
            conf_high=values[:, k] + 1.96 * se,
        )
        parts.append(part.assign(truth=[drawn[column].get(int(level), np.nan) for level in levels]))
    return pd.concat(parts, ignore_index=True)[RANEF]


def _common(engine: str, **more) -> dict:
    return {
        "engine": engine,
        "converged": True,
        "singular": False,
        "status": "ok",
        "message": "",
        "criterion": None,
        "gates": [],
        "warnings": [],
        "seconds": {"fit": 0.4},
        "versions": VERSIONS,
        "n_rows": 1000,
        "n_groups": 100,
        "conf_level": 0.95,
    } | more


def _engine(base, engine, estimate, error, truth, values, levels, drawn) -> None:
    write_table(base / engine / "parameters.csv", _parameters(engine, estimate, error, truth))
    write_table(base / engine / "ranef.parquet", _ranef(values, levels, drawn))
    sd = {"Intercept": estimate["sd__Intercept"], "x": estimate["sd__x"]}
    summary = {
        "criterion": 3675.311449575721,
        "scaled_residuals": [-3.00624, -0.55827, -0.00145, 0.59007, 2.9187],
        "variances": [
            {
                "group": "group",
                "term": "Intercept",
                "variance": sd["Intercept"] ** 2,
                "sd": sd["Intercept"],
                "corr": None,
            },
            {"group": "group", "term": "x", "variance": sd["x"] ** 2, "sd": sd["x"], "corr": [0.00094]},
            {"group": "Residual", "term": "", "variance": 0.9624, "sd": 0.981, "corr": None},
        ],
        "corr_fixed": [[1, 0.002], [0.002, 1]],
        "fixed_names": ["Intercept", "x"],
        "variance_explained": {"post": 0.988435},
        "coef_identity_max_error": 0.0,
        "n_rows": 1000,
        "n_groups": 100,
        "reml_gap": {
            "criterion": 1.3e-9,
            "sd": 2e-7,
            "reached": True,
            "limits": {"criterion_relative": 1e-8, "sd_relative": 1e-5},
        },
    }
    write_json(
        base / engine / "diagnostics.json", _common(engine, criterion=summary["criterion"], summary=summary)
    )
    if engine == "mixedlm":
        fixed = [estimate["Intercept"], estimate["x"]]
        coef = [
            {"level": level, "term": term, "estimate": values[j, k] + fixed[k]}
            for k, term in enumerate(("Intercept", "x"))
            for j, level in enumerate(levels)
        ]
        write_table(base / engine / "coef.parquet", pd.DataFrame(coef))


def _ols(base: Path, rows: pd.DataFrame, truth: dict) -> None:
    X = np.column_stack([np.ones(len(rows)), rows["x"]])
    fit = ols.fit(COFFEE.fixed, rows["y"].to_numpy(float), X, truth=truth)
    fit.write(base / "ols/parameters.csv", base / "ols/diagnostics.json")


def _pymc(base, exact: dict, truth: dict, levels: list, drawn: pd.DataFrame) -> None:
    names = {
        "b0": "Intercept",
        "b1": "x",
        "b0_ran_sigma": "sd__Intercept",
        "b1_ran_sigma": "sd__x",
        "sigma": "sd__Observation",
    }
    rng = np.random.default_rng(123)
    draws = {names[k]: rng.normal(exact["mean"][k], exact["sd"][k], size=(4, 2000)) for k in names}
    table = _parameters(
        "pymc", {names[k]: exact["mean"][k] for k in names}, {names[k]: exact["sd"][k] for k in names}, truth
    )
    flat = {name: values.ravel() for name, values in draws.items()}
    table = table.assign(
        median=[np.median(flat[t]) for t in table["term"]],
        sd=table["std_error"],
        mad=table["std_error"] * 0.99,
        q5=[np.quantile(flat[t], 0.05) for t in table["term"]],
        q95=[np.quantile(flat[t], 0.95) for t in table["term"]],
        rhat=1.001,
        ess_bulk=7800.0,
        ess_tail=5900.0,
        mcse_mean=table["std_error"] / np.sqrt(7800),
    )
    write_table(base / "pymc/parameters.csv", table)
    effects = _ranef(np.column_stack([exact["b0_ran"], exact["b1_ran"]]), levels, drawn).assign(
        mcse_mean=0.0008, ess_bulk=8000
    )
    write_table(base / "pymc/ranef.parquet", effects)
    gates = [
        {"name": "R-hat", "value": 1.001, "limit": 1.01, "passed": True},
        {"name": "bulk ESS", "value": 7800, "limit": 400, "passed": True},
        {"name": "divergences", "value": 0, "limit": 0, "passed": True},
    ]
    given = {
        "Intercept": "flat",
        "x": "flat",
        "sd__Intercept": "uniform(0, 100)",
        "sd__x": "uniform(0, 100)",
        "sd__Observation": "flat",
    }
    summary = {"priors": [{"parameter": term, "prior": text} for term, text in given.items()]}
    write_json(base / "pymc/diagnostics.json", _common("pymc", gates=gates, summary=summary))
    posterior = xr.Dataset({name: (("chain", "draw"), values) for name, values in draws.items()})
    xr.DataTree.from_dict({"posterior": posterior}).to_netcdf(base / "pymc/posterior.nc", engine="h5netcdf")


def compare(base: Path, truth: dict | None, engines=ENGINES, moments=None, terms=COFFEE) -> None:
    """Write the comparison's tables from the engines' tables, as the pipeline does.

    `moments` of the rows and `terms` of the model; those of the coffee study where there are none.
    """
    fits = {
        name: Fit.read(
            base / name / "parameters.csv",
            base / name / "diagnostics.json",
            base / name / "ranef.parquet" if name != "ols" else None,
        )
        for name in engines
    }
    if moments is None:
        rows = pd.read_parquet(base / "data/data.parquet")
        W = np.column_stack([np.ones(len(rows)), rows["x"]])
        moments = accumulate.compute(terms, rows["y"].to_numpy(float), W, *encode(rows["group"].astype(str)))
    factors = variance_explained.components(terms, moments)
    explained = variance_explained.table(fits, truth, terms.fixed, factors, moments.cov_fixed(terms.fixed))
    write_table(base / "comparison/variance_explained.csv", explained)
    write_table(
        base / "comparison/variance_recovery.csv", comparison.variance_recovery(fits, truth, explained)
    )
    main = comparison.lead(fits)
    own = {}
    for grouping in terms.groupings if main is not None else ():
        moments_of = by_factor(moments)[grouping.group]
        own[grouping.group] = no_pooling.own_effects(moments_of, grouping.random, fits[main].fixed)
    write_table(base / "comparison/ranef_differences.csv", comparison.ranef_differences(fits, own))


def fitted(root: Path, frame: pd.DataFrame, formula: str, study: str = "own", truth: dict | None = None):
    """A study of any rows and formula, fitted by the library's OLS and reml; returns its settings and inputs."""
    parsed = parse(formula)
    built = design.build(parsed, frame)
    y, W = built.matrix(frame)
    moments = of_rows(built, frame)
    blocks = [own.blocks for own in built.terms.groupings]
    exact = several_reml.fit if built.terms.several else reml.fit
    fits = {
        "ols": ols.fit(
            built.terms.fixed,
            y,
            W[:, [built.terms.columns.index(t) for t in built.terms.fixed]],
            moments=moments,
        ),
        "reml": exact(moments, built.terms.fixed, blocks if built.terms.several else blocks[0], truth=truth)[
            0
        ],
    }
    base = root / study
    for name, fit in fits.items():
        ranef = base / name / "ranef.parquet" if fit.ranef is not None else None
        fit.write(base / name / "parameters.csv", base / name / "diagnostics.json", ranef)
    if built.terms.several:
        table, about = several_influence.influence(rows_of(built, frame))
    else:
        table, about = influence.influence(moments, built.terms.fixed, blocks[0])
    write_table(base / "reml/influence.parquet", table)
    write_json(base / "reml/influence.json", about)
    labels = {name for columns in parsed.keys for name in columns} - set(parsed.predictors)
    columns = {
        name: {"type": "group"}
        if name in labels
        else {"type": "categorical", "levels": sorted(frame[name].unique().tolist())}
        if not pd.api.types.is_numeric_dtype(frame[name]) or name in parsed.categorical
        else {
            "type": "numeric",
            "min": frame[name].min(),
            "max": frame[name].max(),
            "mean": frame[name].mean(),
            "sd": frame[name].std(),
        }
        for name in parsed.variables
    }
    factors = [
        {"group": factor.group, "columns": list(factor.columns), "levels": len(by_factor(moments)[factor.group].n),
         "rows": {}}
        for factor in parsed.factors
    ]  # fmt: skip
    about = {"rows": len(frame), "factors": factors, "response": parsed.response, "dropped": {}}
    if not parsed.several:
        about |= {"groups": factors[0]["levels"], "group": parsed.group}
    write_json(
        base / "data/data.json",
        about | {"columns": columns, "copied": True, "sources": ["rows.csv"], "checks": []},
    )
    write_table(
        base / "data/data.parquet", frame.assign(**{name: frame[name].astype(str) for name in labels})
    )
    compare(base, truth, tuple(fits), moments, built.terms)
    settings = {
        "title": "Own data",
        "formula": formula,
        "simulate": False,
        "conf_level": 0.95,
        "engines": list(fits),
    }
    return settings | {"configuration": {"formula": formula}}, paths(root, study, tuple(fits))
