"""Reports of constructed results: each sentence, line, caption and alternative text says what the tables say."""

import re
from collections import UserString
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest

import made_replicates
import made_results
from lmm.core.store import read_json, write_json, write_table
from lmm.recovery.calibration.verdicts import calibrate
from lmm.recovery.performance import failures, performance
from lmm.report import answer, figures, methods, recovery, sections
from lmm.report.figures import svg
from lmm.report.figures.replicated import draw
from lmm.report.text import quote
from lmm.report.text import recovery as report_recovery_text
from lmm.report.verdicts import cards
from lmm.results import replicated as recovered
from lmm.results.study import read
from said import answers, bayes, estimates, fits, pages, replicated, replicates, rows
from said.reading import sentences

COFFEE = made_results.REFERENCE / "coffee.csv"
DATA = made_results.REFERENCE.parents[1] / "config/data"


CRITICISM = {"posterior", "criticism", "loo", "replicates", "predictive", "sensitivity"}


def coffee_rows():
    return pd.read_csv(COFFEE)[["y", "x", "group"]].astype({"group": str})


def own(formula, rows):
    """A study of these rows, fitted by OLS and reml."""
    return lambda root: made_results.fitted(root, rows, formula)


def engines(*names):
    """The coffee study by some engines only."""

    def make(root):
        made_results.coffee(root)
        made_results.compare(root / "coffee", read_json(root / "coffee/data/truth.json"), names)
        keep = {"data", "data_json", "truth", "variance_recovery", "ranef_differences", "variance_explained"}
        keep |= {"influence", "influence_about"} if "reml" in names else set()
        keep |= CRITICISM if "pymc" in names else set()
        paths = made_results.paths(root, engines=names)
        paths = {k: path for k, path in paths.items() if k in keep or k.split("_")[0] in names}
        return made_results.SETTINGS | {"engines": list(names)}, paths

    return make


def changed(change, *names):
    """The coffee study with some artifact changed."""

    def make(root):
        settings, paths = engines(*(names or made_results.ENGINES))(root)
        change(root / "coffee")
        made_results.compare(
            root / "coffee", read_json(root / "coffee/data/truth.json"), names or made_results.ENGINES
        )
        return settings, paths

    return make


def edit(file, **values):
    write_json(file, read_json(file) | values)


def dropped(formula, rows, root):
    settings, paths = made_results.fitted(root, rows, formula)
    edit(root / "own/data/data.json", dropped={"rows": 22, "columns": {"y": 20, "x": 3}})
    return settings, paths


def with_covariate():
    """Ages that differ between groups and carry most of their differences, as in a trial."""
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(20), 6)
    t, age = np.tile(np.arange(6.0), 20), np.repeat(np.linspace(40, 80, 20), 6)
    y = (
        10
        + t
        + age
        + (rng.normal(0, 0.8, 20)[group] + rng.normal(0, 0.2, 20)[group] * t)
        + rng.normal(size=120)
    )
    return pd.DataFrame({"y": y, "t": t, "age": age, "id": [f"p{k:02d}" for k in group]})


def years():
    rows = pd.read_csv(DATA / "sleepstudy.csv").rename(columns={"Days": "year"})
    return rows.assign(year=rows["year"] + 2008, Subject=rows["Subject"].astype(str))


def arms():
    rows = coffee_rows()
    return rows.assign(arm=["drug" if k % 3 else "control" for k in range(len(rows))])


def two_groups():
    rng = np.random.default_rng(5)
    x = rng.normal(size=40)
    group = np.repeat(["a", "b"], 20)
    return pd.DataFrame({"y": 1 + x + 2.0 * (group == "b") + rng.normal(size=40), "x": x, "group": group})


def flat_groups():
    """x does not vary in the first ten groups; two groups have one row."""
    rows = coffee_rows()
    first = rows["group"].isin([str(k) for k in range(1, 11)])
    rows.loc[first, "x"] = rows.loc[first, "group"].astype(float) / 10
    return rows


def bad_gates(base):
    gates = [
        {"name": "R-hat, largest", "value": 1.0314, "limit": 1.01, "passed": False},
        {"name": "bulk ESS, smallest", "value": 87.44, "limit": 400, "passed": False},
        {"name": "divergences", "value": 2, "limit": 0, "passed": False},
        {"name": "E-BFMI, smallest", "value": 0.71, "limit": 0.3, "passed": True},
    ]
    edit(base / "pymc/diagnostics.json", gates=gates, status="gate-failed")
    table = pd.read_csv(base / "pymc/predictive.csv")
    table.loc[table["statistic"] == "skewness_means", ["observed", "p_value"]] = [9.0, 0.0]
    table.loc[table["statistic"] == "sd_y", ["observed", "p_value"]] = [1e-3, 1.0]
    table.to_csv(base / "pymc/predictive.csv", index=False)


def criticised(base):
    """A statistic that is outside by chance, a prior-sensitive estimate, groups that cross-validation cannot do."""
    table = pd.read_csv(base / "pymc/predictive.csv").assign(prior_low=-1e9, prior_high=1e9, prior_p=0.5)
    draws = pd.read_parquet(base / "pymc/replicates.parquet")
    pd.concat([draws, draws.assign(kind="prior")]).to_parquet(base / "pymc/replicates.parquet")
    table.loc[table["statistic"] == "skewness_means", ["observed", "p_value"]] = [9.0, 0.02]
    table.loc[table["statistic"] == "sd_y", "prior_low"] = 50.0
    table.to_csv(base / "pymc/predictive.csv", index=False)
    terms = ["Intercept", "x", "sd__Intercept", "sd__x", "sd__Observation"]
    sensitive = pd.DataFrame({"term": terms, "prior": [0.01, 0.02, 0.2, 0.01, 0.01], "likelihood": 0.1})
    sensitive["diagnosis"] = np.where(sensitive["prior"] >= 0.05, "prior-data conflict", "")
    sensitive.to_csv(base / "pymc/sensitivity.csv", index=False)
    loo = pd.read_parquet(base / "pymc/loo.parquet")
    loo.loc[[2, 8], "pareto_k"] = [0.83, 0.91]
    loo.to_parquet(base / "pymc/loo.parquet")
    about = read_json(base / "pymc/criticism.json")
    high = loo.loc[loo["pareto_k"] > about["loo"]["good_k"], "level"].astype(str).tolist()
    edit(base / "pymc/criticism.json", loo=about["loo"] | {"high": high, "largest_k": 0.91}, left_out={})


def insensitive(base):
    criticised(base)
    table = pd.read_csv(base / "pymc/sensitivity.csv").assign(
        prior=[0.01, 0.02, 0.013, 0.01, 0.01], diagnosis=""
    )
    table.to_csv(base / "pymc/sensitivity.csv", index=False)


def missed_optimum(base):
    """MixedLM stops elsewhere, with standard errors that are a third too large; the fit is not near the "
    "boundary."""
    file = base / "mixedlm/diagnostics.json"
    summary = read_json(file)["summary"]
    summary["reml_gap"] |= {"reached": False, "criterion": 0.5, "sd": 0.02}
    edit(file, summary=summary)
    table = pd.read_csv(base / "mixedlm/parameters.csv")
    table.loc[table["effect"] == "ran_pars", ["conf_low", "conf_high"]] = np.nan
    table.loc[table["effect"] == "fixed", "std_error"] *= 1.31
    table.to_csv(base / "mixedlm/parameters.csv", index=False)


def near_the_boundary(base):
    missed_optimum(base)
    table = pd.read_csv(base / "reml/parameters.csv")
    table.loc[table["term"] == "sd__x", "conf_low"] = 0.0
    table.loc[table["term"] == "cor__Intercept.x", ["conf_low", "conf_high"]] = [-1.0, 1.0]
    table.to_csv(base / "reml/parameters.csv", index=False)


def not_copied(root):
    settings, paths = engines("reml", "pymc")(root)
    edit(root / "coffee/data/data.json", copied=False)
    return settings, paths


def no_fit(base):
    """MixedLM stopped with an error."""
    edit(
        base / "mixedlm/diagnostics.json",
        status="error",
        message="statsmodels stopped: Singular matrix",
        summary={},
    )
    pd.read_csv(base / "mixedlm/parameters.csv")[:0].to_csv(base / "mixedlm/parameters.csv", index=False)
    pd.read_parquet(base / "mixedlm/ranef.parquet")[:0].to_parquet(base / "mixedlm/ranef.parquet")


def not_identified(base):
    """No engine's variance parameters are determined by the data."""
    for engine in ("mixedlm", "reml", "pymc"):
        edit(
            base / engine / "diagnostics.json",
            status="unidentified",
            unidentified=["sd__x", "sd__Observation"],
        )


def agreeing(base):
    """MixedLM at reml's optimum: random effects that differ in the ninth digit."""
    table = pd.read_parquet(base / "reml/ranef.parquet")
    table = table.assign(engine="mixedlm", estimate=table["estimate"] * (1 + 1e-9))
    table.to_parquet(base / "mixedlm/ranef.parquet")


STUDIES = {
    "all engines": engines(*made_results.ENGINES),
    "MixedLM alone": engines("mixedlm"),
    "reml alone": engines("reml"),
    "PyMC alone": engines("pymc"),
    "OLS alone": engines("ols"),
    "two that are not PyMC": engines("mixedlm", "reml"),
    "two that agree to rounding": changed(agreeing, "mixedlm", "reml"),
    "singular": own("Yield ~ 1 + (1 | Batch)", pd.read_csv(DATA / "dyestuff2.csv").astype({"Batch": str})),
    "random effects only": own("y ~ 1 + (x | group)", coffee_rows()),
    "intercept only": own("y ~ 1 + (1 | group)", coffee_rows()),
    "no slope": own("y ~ x + (1 | group)", coffee_rows()),
    "dropped rows": partial(dropped, "y ~ x + (x | group)", coffee_rows()),
    "categorical, dropped rows": partial(dropped, "y ~ x * arm + (1 | group)", arms()),
    "two groups": own("y ~ x + (1 | group)", two_groups()),
    "categorical": own("y ~ x * arm + (1 | group)", arms()),
    "a covariate of the groups": own("y ~ t + age + (t | id)", with_covariate()),
    "years": own("Reaction ~ year + (1 | Subject)", years()),
    "groups without a line": own("y ~ x + (x | group)", flat_groups()),
    "failed gates": changed(bad_gates),
    "failed gates and missed optimum": changed(lambda base: (bad_gates(base), missed_optimum(base))),
    "criticised": changed(criticised),
    "not prior-sensitive": changed(insensitive),
    "missed optimum": changed(missed_optimum),
    "near the boundary": changed(near_the_boundary),
    "rows not copied": not_copied,
    "not identified": changed(not_identified),
    "a failed engine": changed(no_fit),
}  # fmt: skip


class Picture(UserString):
    """A figure's SVG, made when a check looks at it: most sentences are checked by tables alone."""

    def __init__(self, drawing, name):
        self.make = cache(partial(svg.to_svg, drawing, name))

    @property
    def data(self):
        return self.make()


@pytest.fixture(autouse=True)
def drawn_when_looked_at(monkeypatch):
    monkeypatch.setattr(figures, "to_svg", Picture)


def said_of(settings, paths):
    """Every sentence of a study with the function that checks it."""
    study = "coffee" if settings["title"] != "Own data" else "own"
    drawn = figures.draw(study, settings, paths)
    results = read(study, settings, paths)
    check, found = partial(fits.checks.check, results), []
    for part in sections.sections(results, dict(drawn.figures)):
        found += [(check, each) for text in [*part["text"], *part["points"]] for each in sentences(text)]
        found += [(check, part["footer"])] * bool(part["footer"])
    said = [*answer.sentences(results), methods.methods(results), quote.results_paragraph(results)]
    said += [line for card in cards(results) for _, line in card.lines]
    found += [(check, sentence) for text in said for sentence in sentences(text)]
    effects = {card.title: card.value for card in cards(results) if card.key.startswith("effect:")}
    found += [(check, f"{title}: {value}") for title, value in effects.items()]
    for figure in drawn.figures.values():
        caption = figure.caption if figure.title != "Not drawn" else ""
        check = partial(rows.check, results, figure)
        alt = figure.alt if figure.title != "Not drawn" or figure.name != "effects" else ""
        found += [(check, sentence) for sentence in sentences(alt) + sentences(caption)]
    return found


def wrong(found):
    """What the checks find, all of it."""
    said = []
    for check, sentence in found:
        try:
            check(sentence)
        except AssertionError as error:
            said.append(str(error))
    return said


def altered(sentence):
    """The sentence with one number made another, for each of its numbers."""
    for at in re.finditer(r"\d+(?:[,.]\d+)*", sentence):
        number = at[0]
        other = "".join(str((int(digit) + 4) % 10) if digit.isdigit() else digit for digit in number)
        yield sentence[: at.start()] + other + sentence[at.end() :]


SEEN = set()  # sentences but for their numbers, with the functions that check them


def unnoticed(found):
    """Alterations that no check notices: one that any number passes would be none.

    A sentence that another study of this process has with other numbers is not altered once more.
    """
    out = []
    for check, sentence in found:
        kind = (check.func, re.sub(r"[\d.,]+", "#", sentence))
        if kind in SEEN:
            continue
        SEEN.add(kind)
        for other in altered(sentence):
            try:
                check(other)
                out.append(other)
            except (AssertionError, IndexError, KeyError, StopIteration, TypeError, ValueError):
                pass
    return out


@pytest.mark.parametrize("name", STUDIES)
def test_every_sentence_is_true_of_the_tables(name, tmp_path):
    found = said_of(*STUDIES[name](tmp_path))
    assert wrong(found) == []
    assert unnoticed(found) == []
    assert len(found) > 25
    assert answers.checks is bayes.checks is pages.checks is fits.checks and estimates.checks is rows.checks


def test_no_verdict_on_parameters_that_the_data_do_not_determine(tmp_path):
    settings, paths = STUDIES["not identified"](tmp_path)
    found = {card.key: card for card in cards(read("coffee", settings, paths))}
    assert (found["variances"].tone, found["variances"].value) == ("bad", "not identified")
    assert found["fits"].value == "3 of 4 fits did not"


def narrowed(table, term, share):
    """reml's intervals of a term with so much of their width, around the estimates."""
    mine = (table["engine"] == "reml") & (table["term"] == term)
    sides, middle = ["conf_low", "conf_high"], table.loc[mine, "estimate"]
    table.loc[mine, sides] = table.loc[mine, sides].sub(middle, axis=0).mul(share).add(middle, axis=0)
    return table


def narrow(table):
    """reml's sd of x and PyMC's group effects are covered far too seldom."""
    theirs = (table["engine"] == "pymc") & (table["term"] == "Intercept: coverage")
    table.loc[theirs, "estimate"] -= 0.2
    return narrowed(table, "sd__x", 0.5)


def slightly_narrow(table):
    """Coverage that is low, but not by more than Monte Carlo error allows for."""
    return narrowed(table, "sd__Intercept", 0.82)


GRIDS = {
    "grid": {},
    "coverage too low": {"change": narrow},
    "coverage low within the allowance": {"change": slightly_narrow, "replicates": 60},
    "one design": {"rows": (10,), "groups": (30,)},
    "one design, coverage too low": {"rows": (10,), "groups": (30,), "change": narrow},
    "one engine": {"engines": ("reml",)},
    "OLS and PyMC": {"engines": ("ols", "pymc")},
    "no failures": {"failed": 0.0},
    "a true sd of 0": {"sd_x": 0.0},
    "a true sd near 0": {"sd_x": 0.0625},
    "calibrated": {"rows": (10,), "groups": (30,), "ranks": 1.0},
    "not calibrated": {"rows": (10,), "groups": (30,), "ranks": 1.6},
    "own data": {"rows": (10,), "groups": (30,), "settings": {"simulate": False}},
}


def grid(root, change=None, ranks=None, settings=None, **shape):
    """Artifacts of made replicates."""
    table = made_replicates.table(np.random.default_rng(1), **{"replicates": 150} | shape)
    table = change(table) if change else table
    found = {name: root / f"{name}.{'parquet' if name == 'replicates' else 'csv'}" for name in TABLES}
    write_table(found["replicates"], table)
    write_table(found["performance"], performance(table))
    write_table(found["failures"], failures(table))
    if ranks is not None:
        rng = np.random.default_rng(2)
        made = made_replicates.uniform_ranks(rng, n=400, design=table["design"].iloc[0])
        wrong = made["quantity"] == "sd__x"
        made.loc[wrong, "rank"] = np.floor(100 * rng.beta(ranks, 1, wrong.sum())).astype(int)
        found |= {"ranks": root / "ranks.parquet", "calibration": root / "calibration.csv"}
        write_table(found["ranks"], made)
        write_table(found["calibration"], calibrate(made, np.random.default_rng(1)))
    about = {"title": "A grid", "formula": "y ~ x + (x | group)", "conf_level": 0.95} | (settings or {})
    return about | {"engines": sorted(set(table["engine"]))}, {
        name: str(path) for name, path in found.items()
    }


TABLES = ("performance", "failures", "replicates")


def said_of_replicates(settings, paths):
    """Every sentence of a study with replicates with the function that checks it."""
    study = recovered.read("grid", settings, paths)
    check = partial(replicates.checks.check, study)
    parts = [report_recovery_text.ademp, report_recovery_text.answers, report_recovery_text.effects]
    parts += [report_recovery_text.failures]
    parts += [report_recovery_text.calibration] if "calibration" in study.tables else []
    found = [(check, each) for part in parts for text in part(study) for each in sentences(text)]
    found += [(check, sentence) for sentence in sentences(report_recovery_text.methods(study))]
    for card in recovery.cards(study):
        one = replicated.of_engine(study, card.key.removeprefix("recovery-"))
        found += [(partial(replicates.checks.check, one), line) for _, line in card.lines]
        if card.key != "calibration":
            found.append((partial(replicated.card_value, one, card), card.value))
    check = partial(replicated.figures.check, study)
    for figure in draw("grid", settings, paths).figures.values():
        found += [(check, sentence) for sentence in sentences(figure.alt)]
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_every_sentence_on_replicates_is_true_of_the_tables(name, tmp_path):
    found = said_of_replicates(*grid(tmp_path, **GRIDS[name]))
    assert wrong(found) == []
    assert unnoticed(found) == []
    assert len(found) > 25
