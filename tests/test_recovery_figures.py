"""Figures and report of studies with replicates: what they say is what the tables say."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import made_replicates
from lmm.core import words
from lmm.core.store import write_table
from lmm.recovery.calibration.verdicts import calibrate
from lmm.recovery.performance import failures, performance
from lmm.report import recovery, report
from lmm.report.figures import calibration as calibration_figures
from lmm.report.figures import replicated, write
from lmm.report.page import TEMPLATES, engine_colours
from lmm.report.panels import panels
from lmm.report.tables import recovery as report_recovery_tables
from lmm.report.text import recovery as report_recovery_text
from lmm.results import replicated as recovered

SETTINGS = {
    "title": "Would this design do?",
    "formula": "y ~ x + (x | group)",
    "engines": list(made_replicates.ENGINES),
    "conf_level": 0.95,
    "replicates": 150,
    "configuration": {"replicates": 150},
}
PROVENANCE = {
    "rendered": "2026-01-01 00:00 UTC", "revision": "abc", "versions": {"python": "3.13.0"}, "system": "Linux",
    "run_times": [],
}  # fmt: skip


def study(root, seed=1, ranks=None, **shape):
    """Artifacts of a made study; the paths as the rules name them."""
    table = made_replicates.table(np.random.default_rng(seed), **{"replicates": 150, **shape})
    found = {name: root / f"{name}.csv" for name in ("performance", "failures")}
    found["replicates"] = root / "replicates.parquet"
    write_table(found["replicates"], table)
    write_table(found["performance"], performance(table))
    write_table(found["failures"], failures(table))
    if ranks is not None:
        ranks = ranks.assign(design=table["design"].iloc[0])
        found |= {"ranks": root / "ranks.parquet", "calibration": root / "calibration.csv"}
        write_table(found["ranks"], ranks)
        write_table(found["calibration"], calibrate(ranks, np.random.default_rng(1)))
    return {name: str(path) for name, path in found.items()}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return study(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    rng = np.random.default_rng(2)
    ranks = made_replicates.uniform_ranks(rng, n=400)
    wrong = ranks["quantity"] == "sd__x"
    ranks.loc[wrong, "rank"] = np.floor(100 * rng.beta(1.6, 1, wrong.sum())).astype(int)
    return study(tmp_path_factory.mktemp("single"), rows=(10,), groups=(30,), failed=0, ranks=ranks)


@pytest.fixture(scope="module")
def drawn(grid, single):
    return {
        "grid": replicated.draw("grid", SETTINGS, grid),
        "single": replicated.draw("single", SETTINGS, single),
    }


def test_which_figures_there_are(drawn):
    assert list(drawn["grid"].figures) == ["bias", "coverage", "rmse", "grid", "zip", "endings"]
    # one design has no axis; all its fits are ok
    assert list(drawn["single"].figures) == ["summary", "zip", "calibration"]


def test_figures_are_small_whole_and_say_what_they_show(drawn):
    for name, figures in drawn.items():
        for figure in figures.figures.values():
            root = ET.fromstring(figure.svg)  # well formed
            assert root.get("role") == "img" and root.get("aria-label") == figure.alt
            assert len(figure.svg) < 120_000, figure.name  # a page of ten stays near 1 MB
            assert re.search(r"\d", figure.alt) and figure.alt.endswith("."), figure.alt
            assert figure.caption and figure.title
            ids = re.findall(r'\bid="([^"]+)"', figure.svg)
            assert all(each.startswith(f"{name}-{figure.name}") for each in ids)  # several share a page
            # every colour is one that the style sheet maps to the theme
            css = (TEMPLATES / "report.css").read_text() + engine_colours()
            for value in set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', figure.svg)):
                assert f'="{value}"]' in css, (figure.name, value)


def in_percent(value, error):
    """`91.2 % ± 1.0 %`: two digits of the error decide, by its own text in scientific notation."""
    decimals = max(0, 1 - int(f"{100 * error:.1e}"[-3:]))
    return f"{100 * value:.{decimals}f}\u00a0% ± {100 * error:.{decimals}f}\u00a0%".replace("-", "−")


def test_the_findings_are_those_of_the_table(grid, drawn):
    table = recovered.read("grid", SETTINGS, grid).rows("coverage")
    table = table[(table["engine"] != "ols") & table["effect"].isin(["fixed", "ran_pars"])]
    row = table.loc[(table["estimate"] - 0.95).abs().idxmax()]
    said = drawn["grid"].figures["coverage"].alt
    assert f"{in_percent(row['estimate'], row['mcse']).replace(chr(160), ' ').replace(' %', '')} %" in said
    assert f"{row['groups']} groups of {row['rows_per_group']}" in said
    counts = pd.read_csv(grid["failures"]).groupby("status")["count"].sum()
    used = counts.get("ok", 0) + counts.get("singular", 0)
    assert f"{counts.sum() - used:,} could not be used" in drawn["grid"].figures["endings"].alt
    assert "1 quantity leaves the band (SD of x)" in drawn["single"].figures["calibration"].alt


def test_the_order_of_the_zip_plot_is_that_of_morris_for_wald_intervals():
    rng = np.random.default_rng(3)
    e, s = rng.normal(1, 0.3, 200), rng.uniform(0.2, 0.4, 200)
    z = 1.96
    table = pd.DataFrame({"truth": 1.0, "estimate": e, "conf_low": e - z * s, "conf_high": e + z * s})
    far = calibration_figures.distance(table)
    assert far == pytest.approx(np.abs(e - 1) / (z * s), rel=1e-9)  # rounding only
    # intervals that are not symmetric: 1 is where they end, whichever side
    odd = pd.DataFrame({
        "truth": [0.0, 0.0, 2.0, 0.0], "estimate": [0.0, 1.0, 1.0, 0.0], "conf_low": [0.0, 0.0, 0.9, 0.1],
        "conf_high": [3.0, 1.1, 2.5, 0.2],
    })  # fmt: skip
    assert calibration_figures.distance(odd) == pytest.approx([0, 1, 2 / 3, np.inf])


def test_designs_in_words(grid):
    read = recovered.read("grid", SETTINGS, grid)
    assert read.axes == ["groups", "rows_per_group"] and read.values("groups") == [10, 30]
    assert [read.describe(row) for _, row in read.designs.iterrows()] == [
        "10 groups of 5", "10 groups of 20", "30 groups of 5", "30 groups of 20",
    ]  # fmt: skip
    assert read.terms == ["Intercept", "x", "sd__Intercept", "sd__x", "sd__Observation"]
    assert read.describe({"groups": 30, "rows": 1000, "sd__x": 0.5}, ["groups", "sd__x"]) == (
        "30 groups with 1,000 rows, SD of x 0.5"
    )
    assert (
        recovered.axis_name("fixed__x") == "effect of x"
        and recovered.axis_value("poisson(8)") == "poisson(8)"
    )


def test_keys_of_digits_stay_text(tmp_path):
    """A design's key is hexadecimal: 000000000001 and 12e456789012 must not come back as numbers."""
    paths = study(tmp_path, rows=(5,), groups=(10, 30), replicates=20)
    for name in ("performance", "failures"):
        text = (tmp_path / f"{name}.csv").read_text().replace("000000000001", "12e456789012")
        (tmp_path / f"{name}.csv").write_text(text)
    read = recovered.read("keys", SETTINGS, paths)
    assert set(read.designs["design"]) == {"000000000000", "12e456789012"}


def test_answers_are_computed(grid):
    read = recovered.read("grid", SETTINGS, grid)
    said = " ".join(report_recovery_text.answers(read))
    bias = read.rows("relative_bias", engine="reml")
    bias = bias[bias["term"].isin(["sd__Intercept", "sd__x"]) & read.far_from_zero(bias)]
    row = bias.loc[bias["estimate"].abs().idxmax()]
    size = in_percent(row["estimate"], row["mcse"])
    where = f"{row['groups']} groups of {row['rows_per_group']}"
    worst = (
        f"reml's largest bias of a random effect's SD is {size}, for the SD of {row['term'][4:]} with {where}"
    )
    assert worst in said
    rows = [read.rows(name, engine="reml") for name in ("coverage", "ranef_coverage")]
    least = min(rows, key=lambda some: some["estimate"].min()).nsmallest(1, "estimate").iloc[0]
    assert "reml's 95\u00a0% intervals cover " in said
    assert in_percent(least["estimate"], least["mcse"]) in said
    assert "could not be used and are left out" in said, "failures are in the answer"
    other = recovered.read("grid", SETTINGS | {"conf_level": 0.9}, grid)
    assert "90\u00a0% intervals" in " ".join(report_recovery_text.answers(other))


def test_tables_have_the_decimals_of_sentences(grid):
    """Two digits of the Monte Carlo error; a truth as its author wrote it; no percentage of a truth near 0."""
    read = recovered.read("grid", SETTINGS, grid)
    table = report_recovery_tables.performance(read)
    names = [column.name for column in table.columns]
    far = read.rows("relative_bias")
    far = far[read.far_from_zero(far)]
    keys = {(row.groups, row.rows_per_group, row.term, words.label(row.engine)) for row in far.itertuples()}
    for row in table.rows:
        cell = dict(zip(names, row, strict=True))
        for measure in ("bias", "coverage", "rmse", "empirical_se"):
            (value, said), (error, after) = cell[measure], cell[f"{measure}_mcse"]
            if error > 0:
                assert f"{said} ± {after}" == words.with_error(value, error)
        assert cell["truth"][1] == words.given(cell["truth"][0])
        key = (cell["groups"][0], cell["rows_per_group"][0], cell["term"][0], cell["engine"][0])
        assert (cell["relative_bias"][1] == "–") == (key not in keys)


def test_a_true_sd_of_zero_is_spoken_of(tmp_path):
    paths = study(tmp_path, rows=(5,), groups=(10, 30), sd_x=0.0)
    read = recovered.read("none", SETTINGS, paths)
    said = [text for text in report_recovery_text.answers(read) if "is 0 in truth" in text]
    zero = read.rows("p_zero", term="sd__x", engine="reml")
    row = zero.loc[zero["estimate"].idxmin()]
    assert len(said) == 1 and said[0].startswith(
        "Where the SD of x is 0 in truth, it is estimated as exactly 0 in"
    )
    assert f"{in_percent(row['estimate'], row['mcse'])} of fits by reml" in said[0]


def test_words_of_bias_and_failures(single, grid):
    row = pd.Series({"estimate": -0.09, "mcse": 0.01, "measure": "relative_bias"})
    assert report_recovery_text._bias(row) == "−9.0\u00a0% ± 1.0\u00a0%"
    row["measure"] = "bias"
    assert report_recovery_text._bias(row) == "−0.090 ± 0.010"
    said = report_recovery_text.failures(recovered.read("grid", SETTINGS, grid))
    counts = pd.read_csv(grid["failures"])
    bad = counts.loc[(counts["engine"] == "pymc") & (counts["status"] == "gate-failed"), "count"].sum()
    assert any(f"PyMC: of 600 fits {bad} gate-failed" in sentence for sentence in said)
    ended = report_recovery_text.failures(recovered.read("single", SETTINGS, single))
    assert any(": all 150 fits ok by each." in one and "MixedLM" in one.partition(":")[0] for one in ended)


def test_the_sampler_of_replicates_is_named(single):
    """10 of 150 fits by NUTS in place of importance sampling: counted by design and engine, and said."""
    replicates = pd.read_parquet(single["replicates"])
    rows = (replicates["engine"] == "pymc") & (replicates["replicate"] < 10) & (replicates["status"] == "ok")
    replicates.loc[rows, "sampler"] = "nuts"
    counts = failures(replicates)
    number = replicates.loc[rows, "replicate"].nunique()
    assert counts.loc[counts["sampler"] == "nuts", "count"].tolist() == [number]
    read = recovered.read("single", SETTINGS, single)
    own = replace(read, tables=read.tables | {"failures": counts})
    said = f"and of NUTS in the {number} usable fits of 150 in which it failed a gate."
    assert said in report_recovery_text.sampler(own, "pymc")
    assert "passed its gates in every usable fit" in report_recovery_text.sampler(read, "pymc")
    settings = {"configuration": {"engines": {"pymc": {"sampler": "nuts"}}}}
    assert report_recovery_text.sampler(replace(read, settings=settings), "pymc").endswith("those of NUTS.")


def test_cards_judge_beyond_monte_carlo_error(grid, single):
    cards = {card.key: card for card in recovery.cards(recovered.read("grid", SETTINGS, grid))}
    assert set(cards) == {f"recovery-{name}" for name in made_replicates.ENGINES}
    assert cards["recovery-ols"].tone == "bad"  # standard errors of half the size that they should have
    assert cards["recovery-reml"].tone == "good"
    assert cards["recovery-pymc"].tone == "bad"  # made 20 % too large at 10 groups
    found = {card.key: card for card in recovery.cards(recovered.read("single", SETTINGS, single))}
    assert found["calibration"].tone == "bad" and found["calibration"].value == "3 of 4 quantities"


@pytest.mark.parametrize(
    ("measure", "looked_at", "bad"),
    [("coverage", 0.925, 0.85), ("relative_bias", -0.05, -0.25), ("failure_rate", 0.05, 0.2)],
)
def test_cards_turn_at_their_documented_limits(measure, looked_at, bad):
    """Coverage 2.5 and 10 points below the level, bias of 5 and 25 %, failures of 5 and 20 %, and 3 MCSE more."""
    mcse, study = 0.001, SimpleNamespace(conf_level=0.95)
    outwards = -1.0 if measure == "coverage" or looked_at < 0 else 1.0

    def tone(value):
        return recovery._tone(study, measure, pd.Series({"estimate": value, "mcse": mcse}))

    for limit, inside, outside in ((looked_at, "good", "warn"), (bad, "warn", "bad")):
        assert tone(limit + outwards * 2.9 * mcse) == inside
        assert tone(limit + outwards * 3.1 * mcse) == outside


def test_the_performance_table_has_every_design_engine_and_term(grid, single):
    table = report_recovery_tables.performance(recovered.read("grid", SETTINGS, grid))
    # OLS has no sd's of random effects: 4 designs x (3 engines x 5 terms + 3)
    assert len(table.rows) == 4 * (3 * 5 + 3)
    titles = [column.title for column in table.columns]
    assert titles[:4] == ["Groups", "Rows per group", "Term", "Engine"] and "Failed" in titles
    # parameters drawn from priors: no relative bias, whose truth may be next to 0
    titles = [
        c.title for c in report_recovery_tables.performance(recovered.read("s", SETTINGS, single)).columns
    ]
    assert "Bias" in titles and "Bias %" not in titles


def test_the_page_holds_all_of_it(grid, single, drawn, tmp_path):
    paths = {}
    for name, own in (("grid", grid), ("single", single)):
        write(drawn[name], tmp_path / name)
        paths |= {f"{name}/{key}": path for key, path in own.items()} | {f"{name}/figures": tmp_path / name}
    page = report.render({"grid": SETTINGS, "single": SETTINGS}, paths, {"title": "Two studies"}, PROVENANCE)
    for figures in drawn.values():
        for figure in figures.figures.values():
            assert all(panel in page.html for panel in panels(figure.svg)), figure.name
    assert page.html.count('data-card="recovery-reml"') == 2 and "modrak2023" in page.html
    assert "Is PyMC calibrated?" in page.html and "✗ not calibrated" in page.html
    assert not re.search(r'(?:src|href)="https?:', page.html)
    summary = json.loads(json.dumps(page.summary, allow_nan=False))
    assert summary["studies"]["single"]["calibration"]["sd__x"] == "not calibrated"
    assert summary["studies"]["grid"]["designs"] == 4 and summary["studies"]["grid"]["calibration"] is None
    assert 0 < summary["studies"]["grid"]["worst"]["reml"]["coverage"]["estimate"] < 1


def test_a_study_in_which_every_fit_fails_still_has_a_report(tmp_path):
    table = made_replicates.table(
        np.random.default_rng(4), rows=(5,), groups=(10,), replicates=12, engines=("reml",)
    )
    numbers = ["estimate", "std_error", "conf_low", "conf_high"]
    table = table.assign(status="error", message="LinAlgError: no", **dict.fromkeys(numbers, np.nan))
    found = {"performance": tmp_path / "performance.csv", "failures": tmp_path / "failures.csv"}
    write_table(found["performance"], performance(table))
    write_table(found["failures"], failures(table))
    figures = replicated.draw("bad", SETTINGS, found)
    write(figures, tmp_path / "figures")
    paths = {f"bad/{name}": path for name, path in found.items()} | {"bad/figures": tmp_path / "figures"}
    page = report.render({"bad": SETTINGS}, paths, {"title": "All failed"}, PROVENANCE)
    assert "LinAlgError: no" in page.html and "of 12 fits 12 error (100.00\u00a0% not usable)" in page.html
    assert page.summary["studies"]["bad"]["cards"][0]["tone"] == "bad"


def test_replicates_of_which_only_sums_are_kept_have_no_group_effects_and_no_variance_explained(tmp_path):
    table = made_replicates.table(
        np.random.default_rng(5), rows=(5,), groups=(10,), replicates=12, engines=("reml",), failed=0
    )
    table = table[table["effect"].isin(["fixed", "ran_pars"])]
    found = {"performance": tmp_path / "performance.csv", "failures": tmp_path / "failures.csv"}
    write_table(found["performance"], performance(table))
    write_table(found["failures"], failures(table))
    read = recovered.read("sums", SETTINGS, found)
    assert report_recovery_tables.ranef(read) is None
    assert report_recovery_tables.explained(read) is None


def test_a_small_monte_carlo_error_is_no_zero():
    assert words.share(0.9123, 0.01) == "91.2\u00a0% ± 1.0\u00a0%"
    assert words.share(0.94812, 0.00022) == "94.812\u00a0% ± 0.022\u00a0%"
    assert words.share(-0.7631, 0.112) == "−76\u00a0% ± 11\u00a0%"
    assert words.share(1.0, 0.0) == "100\u00a0% ± 0\u00a0%"
    assert words.with_error(-0.09, 0.0103) == "−0.090 ± 0.010"
    assert words.with_error(1234.5, 99.6) == "1234 ± 100"
    assert words.with_error(3.0, 2.7e-8) == "3.000000000 ± 0.000000027"
    assert words.with_error(2.0, None) == "2.00 ± –"
