"""The report: one file that fetches nothing, says what the results say, and stays true when they change."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import made_results
from lmm.core import words
from lmm.core.store import read_json, write_json
from lmm.report import figures, graph, provenance, report
from lmm.results.study import read

PROVENANCE = {
    "rendered": "2026-01-01 00:00 UTC",
    "revision": "abc123",
    "versions": {"python": "3.13.0"},
    "system": "Linux x86_64",
    "run_times": [{"study": "coffee", "rule": "simulate", "seconds": 1.25, "memory": 100.0}],
}


class Text(HTMLParser):
    """What a reader reads: text outside scripts and styles, and every attribute that could fetch something."""

    def __init__(self, html: str):
        super().__init__()
        self.parts, self.links, self.ids, self.skip = [], [], [], 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag, attributes):
        self.skip += tag in ("script", "style")
        self.links += [value for key, value in attributes if key in ("src", "href", "data", "action")]
        self.ids += [value for key, value in attributes if key == "id"]

    def handle_endtag(self, tag):
        self.skip -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def blank(settings):
    """The study's figures without a picture: drawing takes longer than everything else on the page."""
    empty = (
        '<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 9 9" width="9" height="9"></svg>'
    )
    return figures.Drawn(
        {name: figures.Figure(name, "", "", "", 400.0, empty) for name in figures.names(settings)}, None
    )


def rendered(root, settings=made_results.SETTINGS, study="coffee", paths=None, title="A report", drawn=None):
    """The page; with pictures only where a test looks at them."""
    paths = made_results.paths(root, study) if paths is None else paths
    figures.write(drawn or blank(settings), root / study / "figures")
    inputs = {f"{study}/{key}": path for key, path in paths.items()} | {
        f"{study}/figures": str(root / study / "figures")
    }
    return report.render({study: settings}, inputs, {"title": title}, PROVENANCE)


@pytest.fixture(scope="module")
def coffee(coffee_drawn, tmp_path_factory):
    return rendered(made_results.coffee(tmp_path_factory.mktemp("results")), drawn=coffee_drawn[1])


@pytest.fixture
def results(tmp_path):
    return made_results.coffee(tmp_path)


def change(file, **values):
    """Change keys of a JSON artifact."""
    write_json(file, read_json(file) | values)


def card(page, key, study="coffee"):
    return next((c for c in page.summary["studies"][study]["cards"] if c["key"] == key), None)


def test_the_page_fetches_nothing_and_is_small(coffee):
    page = Text(coffee.html)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert "@import" not in coffee.html
    assert not re.search(r"url\(\s*['\"]?https?:", coffee.html)
    assert len(coffee.html) < 2_500_000
    assert len(page.ids) == len(set(page.ids))


def test_contents_lead_to_sections(coffee):
    page = Text(coffee.html)
    targets = [link[1:] for link in page.links if link.startswith("#")]
    assert set(targets) <= set(page.ids)
    assert {
        f"coffee-{name}" for name in ("answer", "checks", "results", "data", "methods", "appendix")
    } <= set(targets)


def test_two_studies_of_the_same_data_describe_them_once(tmp_path):
    inputs = {}
    for name in ("one", "two", "other"):
        root = tmp_path / name
        frame = pd.read_csv(made_results.REFERENCE.parents[1] / "config/data/sleepstudy.csv")
        frame = frame[frame["Days"] > 0] if name == "other" else frame
        slope = "Days" if name != "two" else "1"
        settings, paths = made_results.fitted(root, frame, f"Reaction ~ Days + ({slope} | Subject)", name)
        figures.write(blank(settings), root / name / "figures")
        inputs |= {f"{name}/{key}": path for key, path in paths.items()}
        inputs[f"{name}/figures"] = str(root / name / "figures")
    studies = {name: settings | {"title": name} for name in ("one", "two", "other")}
    page = report.render(studies, inputs, {"title": "Three"}, PROVENANCE).html
    text = Text(page).text
    assert text.count("The data have 180 rows") == 1
    assert page.count('The same as in <a href="#one-data">one</a>.') == 1
    assert [f'id="{name}-figure-groups"' in page for name in studies] == [True, False, True]


def test_verdicts_come_first(coffee):
    text = Text(coffee.html).text
    order = [
        "Were the variances recovered?",
        "Do the engines agree?",
        "Did every fit end well?",
        "Fixed effects",
    ]
    order += ["1,000 rows in 100 groups were simulated", "Copy", "Residual standard error"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_the_coffee_studys_numbers_are_on_the_page(coffee):
    text = Text(coffee.html).text
    for printed in (
        "1,000 rows in 100 groups were simulated",
        "8.98 for Intercept (not 10) and 0.958 for x (not 1)",
        "REML criterion of 3675.3114",  # coffee.json, reml_exact
        # 9.0251454 squared; the post prints 81.4530, where lme4's optimiser stopped short of the optimum
        "81.4533",
        "Residual standard error: 9.153 on 998 degrees of freedom",  # the post's summary(lm)
        "F-statistic: 3.584 on 1 and 998 DF, p = .059",
        "summed variance components, which depends on the predictors' units, is 98.84\u00a0%",  # the post's
        "All 3 convergence gates are passed",
        "MixedLM − PyMC: at most 0.0033",  # posterior_exact against reml_exact
        "MixedLM − PyMC: at most 0.01181 ± 0.00080",
    ):
        assert re.sub(r"\s+", " ", printed) in text, printed


def test_the_report_has_no_name_of_a_table_s_column_in_its_text(coffee):
    text = Text(coffee.html).text
    assert "sd__" not in text.split("Configuration")[0]
    assert "cor__" not in text


def test_summary_says_what_the_page_says(coffee):
    study = coffee.summary["studies"]["coffee"]
    text = Text(coffee.html).text
    for each in study["cards"]:
        assert each["value"] in text
        assert all(re.sub(r"\s+", " ", line) in text for line in each["lines"])
    assert study["estimates"]["reml"]["sd__Intercept"] == pytest.approx(9.025145430929163, rel=1e-12)
    assert study["verdict"]["engines"]["pymc"]["gates_passed"] is True
    assert study["verdict"]["ranef_difference"]["x"]["level"] == "65"
    json.dumps(coffee.summary, allow_nan=False)


def test_failed_gates_are_loud(results):
    gates = [{"name": "R-hat, largest", "value": 1.2, "limit": 1.01, "passed": False}]
    change(results / "coffee/pymc/diagnostics.json", gates=gates, status="gate-failed")
    page = rendered(results)
    text = Text(page.html).text
    assert card(page, "gates")["tone"] == "bad"
    assert "1 of 1 convergence gates FAILED: R-hat, largest" in text
    assert "the fit failed on R-hat, largest" in text
    assert "All 1 convergence gates" not in text


def test_a_missed_truth_is_not_called_recovered(results):
    file = results / "coffee/reml/parameters.csv"
    table = pd.read_csv(file)
    table.loc[table["term"] == "sd__x", ["conf_low", "conf_high"]] = [0.80, 0.95]
    table.to_csv(file, index=False)
    made_results.compare(results / "coffee", read_json(results / "coffee/data/truth.json"))
    page = rendered(results)
    assert card(page, "variances")["value"] == "10 of 11 intervals"
    assert "reml: 3 of 4 intervals contain the true value (not: SD of x)" in Text(page.html).text


def test_singular_and_missed_optimum_are_said(results):
    file = results / "coffee/mixedlm/diagnostics.json"
    summary = read_json(file)["summary"]
    summary["reml_gap"] |= {"reached": False, "criterion": 0.5, "sd": 0.02}
    change(file, summary=summary, status="singular", singular=True, message="sd__x is 0")
    page = rendered(results)
    text = Text(page.html).text
    assert card(page, "optimum")["value"] == "no"
    assert "did NOT reach the exact REML optimum: its criterion differs by 0.50" in text
    assert "MixedLM is singular: a variance is estimated as 0, or a correlation as ±1 (sd__x is 0)." in text
    assert card(page, "fits")["tone"] == "warn"


def test_random_effects_of_a_singular_fit_that_are_almost_zero_are_zero(results):
    file = results / "coffee/mixedlm/ranef.parquet"
    table = pd.read_parquet(file)
    table.loc[table["term"] == "x", "estimate"] *= 1e-9
    table.to_parquet(file)
    change(results / "coffee/mixedlm/diagnostics.json", status="singular", singular=True)
    effects = read("coffee", made_results.SETTINGS, made_results.paths(results)).fits["mixedlm"].ranef
    zero = effects["estimate"] == 0
    assert zero[effects["term"] == "x"].all() and not zero[effects["term"] == "Intercept"].any()


def test_a_skipped_engine_is_said_and_leaves_no_empty_tables(results):
    base = results / "coffee/mixedlm"
    change(
        base / "diagnostics.json",
        status="skipped",
        message="10 rows are above max_rows = 5",
        summary={},
    )
    pd.read_csv(base / "parameters.csv")[:0].to_csv(base / "parameters.csv", index=False)
    pd.read_parquet(base / "ranef.parquet")[:0].to_parquet(base / "ranef.parquet")
    made_results.compare(results / "coffee", read_json(results / "coffee/data/truth.json"))
    page = rendered(results)
    text = Text(page.html).text
    assert "MixedLM was skipped (10 rows" in text
    # the paragraph to quote does not claim a fit that was not made
    methods = text.rpartition("To quote")[2]
    assert "MixedLM" not in methods.partition("Appendix")[0]
    assert (
        "The model was fitted by restricted maximum likelihood (REML) from sufficient statistics" in methods
    )
    assert card(page, "optimum") is None
    assert any("reml − PyMC" in line for line in card(page, "differences")["lines"])
    assert 'id="coffee-table-mixedlm-random"' not in page.html


def test_own_data_have_no_truth(tmp_path):
    frame = pd.read_csv(made_results.REFERENCE / "coffee.csv")[["y", "x", "group"]].astype({"group": str})
    settings, paths = made_results.fitted(tmp_path, frame, "y ~ x + (x | group)")
    page = rendered(tmp_path, settings, "own", paths)
    text = Text(page.html).text
    assert not re.search(r"[Tt]ruth", text)
    assert "simulated from" not in text
    assert "Posterior" not in text
    assert card(page, "variances", "own")["title"] == "Where the variance is"
    assert "pymc2023" not in page.html


def test_a_variance_of_0_reads_as_0(tmp_path):
    frame = pd.read_csv(made_results.REFERENCE.parents[1] / "config/data/dyestuff2.csv")
    settings, paths = made_results.fitted(tmp_path, frame, "Yield ~ 1 + (1 | Batch)")
    found = read("own", settings, paths)
    stored = pd.read_csv(tmp_path / "own/reml/parameters.csv").set_index("term")["estimate"]
    assert stored["sd__Intercept"] < 1e-16 * stored["sd__Observation"]
    assert found.estimate("reml", "sd__Intercept") == 0
    shares = found.tables["variance_explained"].set_index(["engine", "measure"])["estimate"]
    assert shares["reml", "post"] == 0
    text = Text(rendered(tmp_path, settings, "own", paths).html).text
    assert "The SD between levels of Batch is 0" in text
    assert not re.search("×10⁻[2-9][0-9]", text)  # no rounding error is printed as a number
    assert "would lower the SD of Intercept" not in text


def test_thousands_of_groups_travel_as_data(tmp_path):
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(2500), 3)
    frame = pd.DataFrame(
        {"y": rng.normal(size=2500)[group] + rng.normal(size=7500), "group": group.astype(str)}
    )
    settings, paths = made_results.fitted(tmp_path, frame, "y ~ 1 + (1 | group)")
    page = rendered(tmp_path, settings, "own", paths, drawn=figures.draw("own", settings, paths))
    rows = re.search(r'<script type="application/json" class="rows">(.*?)</script>', page.html, re.S).group(1)
    assert len(json.loads(rows)) == 2500
    assert json.loads(re.search(r'class="groups">(.*?)</script>', page.html, re.S).group(1)) is None
    assert len(page.html) < 3_000_000


def test_names_from_data_cannot_break_the_page(tmp_path):
    frame = pd.read_csv(made_results.REFERENCE / "coffee.csv")[["y", "x", "group"]].astype({"group": str})
    frame["group"] = "</script><b>" + frame["group"] + '"&'
    settings, paths = made_results.fitted(tmp_path, frame, "y ~ x + (1 | group)")
    settings["title"] = "<img src=x onerror=alert(1)>"
    drawn = figures.draw("own", settings, paths)
    page = rendered(tmp_path, settings, "own", paths, title="a < b & c", drawn=drawn)
    assert "<img src=x" not in page.html
    assert "</script><b>" not in page.html
    assert '</script><b>1"&' in Text(page.html).text


def test_methods_name_what_was_used(coffee):
    text = Text(coffee.html).text
    assert "(4 chains, 1,000 warm-up and 2,000 kept draws each)" in text
    assert "uniform(0, 100) for the SD of Intercept and the SD of x" in text
    for key in re.findall(r"@\w+\{(\w+)", text):
        assert key in (
            "bates2015",
            "johnson2014",
            "seabold2010",
            "pymc2023",
            "arviz2019",
            "vehtari2021",
            "vehtari2017",
            "sailynoja2022",
            "molder2021",
        )
    assert text.count("@article{") + text.count("@inproceedings{") == 9


def test_the_results_table_begins_with_what_answers(coffee):
    blocks = [block.title for block in next(one for one in coffee.papers if one.key == "results").blocks]
    assert blocks[0] == "" and blocks[-1] == "OLS" and "PyMC" in blocks[1:-1]


CITED = re.compile(r"([A-Z][\w-]+)(?: et al\.| & [A-Z]\w+)? \(?((?:19|20)\d\d)\b(?!-)")


def test_what_the_page_cites_is_among_its_references(coffee):
    """Caption, tables and methods cite by author and year."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", coffee.html, flags=re.DOTALL)
    text, _, listed = re.sub(r"<[^>]+>", " ", page).partition("References")[2].rpartition("References")
    found = {tuple(one) for one in CITED.findall(text)}
    assert {("Johnson", "2014"), ("Säilynoja", "2022"), ("Vehtari", "2017")} <= found
    for author, year in found:
        assert re.search(rf"{author}, .*\({year}\)", listed), f"{author} {year} is not among the references"


def test_importance_sampling_is_cited_with_its_paper(tmp_path):
    root = made_results.coffee(tmp_path)
    file = root / "coffee/pymc/diagnostics.json"
    change(
        file, summary=read_json(file)["summary"] | {"sampler": "importance", "points": 4000, "pareto_k": 0.1}
    )
    page = rendered(root)
    assert "Pareto k 0.10; Vehtari et al. 2024" in page.html
    assert "Pareto smoothed importance sampling. Journal of Machine Learning Research" in page.html
    assert "Säilynoja" not in page.html


def test_run_times_come_from_benchmark_files(tmp_path):
    (tmp_path / "coffee/benchmarks").mkdir(parents=True)
    (tmp_path / "coffee/benchmarks/reml.tsv").write_text("s\th:m:s\tmax_rss\n1.5\t0:00:01\t-\n")
    found = provenance.run_times(tmp_path, ["coffee"])
    assert found == [{"study": "coffee", "rule": "reml", "seconds": 1.5, "memory": None}]


def test_many_jobs_of_a_rule_are_one_row(tmp_path):
    """Chunks of replicates have a folder of benchmark files: their seconds add up, the highest peak counts."""
    folder = tmp_path / "grid/benchmarks/replicates/abc"
    folder.mkdir(parents=True)
    for name, seconds, peak in (("0-2", 1.5, 300), ("2-4", 2.0, 200), ("4-6", "-", "-")):
        (folder / f"{name}.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{peak}\n")
    found = provenance.run_times(tmp_path, ["grid"])
    assert found == [{"study": "grid", "rule": "replicates", "seconds": 3.5, "memory": 300.0}]


def test_graph_shows_that_mixedlm_starts_from_reml():
    with_start = graph.edges(["mixedlm", "reml"])
    assert ("reml", "mixedlm") in with_start
    assert ("reml", "mixedlm") not in graph.edges(["mixedlm"])
    assert "reml to mixedlm" in graph.graph(with_start, {"reml": 1.0})


def test_graph_shows_the_checks_of_the_engines_that_have_them():
    assert {("moments", "influence"), ("influence", "figures")} <= set(graph.edges(["reml"]))
    assert {("pymc", "criticism"), ("criticism", "figures")} <= set(graph.edges(["ols", "pymc"]))
    assert not {"influence", "criticism"} & {name for pair in graph.edges(["ols"]) for name in pair}


@pytest.mark.parametrize(
    "engines",
    [["ols"], ["reml"], ["pymc"], ["ols", "reml", "pymc"], ["ols", "mixedlm", "reml", "pymc"], ["mine"]],
)
def test_no_box_of_the_graph_covers_a_line_or_another_box(engines):
    """A line runs level from its box to the column before its end: no box may stand in between at that height."""
    picture = graph.graph(graph.edges(engines), {})
    box = r'<rect x="([\d.]+)" y="([\d.]+)" width="(\d+)" height="(\d+)"'
    boxes = [tuple(map(float, found)) for found in re.findall(box, picture)]
    lines = [tuple(map(float, found)) for found in re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)", picture)]
    assert len({(x, y) for x, y, *_ in boxes}) == len(boxes)
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', picture).group(1))
    for x, y, wide, high in boxes:
        assert x >= 0 and y >= 0 and x + wide <= 760 and y + high <= height
        assert not [line for line in lines if y < line[1] < y + high and line[0] < x + 1 < line[2]]


def test_revision_outside_git_is_empty(tmp_path):
    assert provenance.revision(tmp_path) == ""


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(9.0251, 3, "9.03"), (9.996, 3, "10.0"), (-0.00123, 2, "−0.0012"), (0, 3, "0"), (1234567.0, 3, "1.23×10⁶"),
     (2.5e-15, 2, "2.5×10⁻¹⁵"), (float("nan"), 3, "–"), (12345, 3, "12,300")],
)  # fmt: skip
def test_numbers_as_a_reader_wants_them(value, digits, text):
    assert words.number(value, digits) == text


def test_words():
    assert [words.p_value(p) for p in (1e-30, 0.05862, 0.9999)] == ["< .001", ".059", "> .999"]
    assert [words.stars(p) for p in (0.0001, 0.005, 0.02, 0.07, 0.5)] == ["***", "**", "*", ".", ""]
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.counted(1, "row") == "1 row"
    assert words.fixed(-0.0001, 2) == "0.00", "a rounded zero has no sign"
    assert words.decimals([9.025, 0.895]) == 3


def test_reading_leaves_out_what_is_not_there(results):
    paths = made_results.paths(results)
    found = read(
        "coffee",
        made_results.SETTINGS,
        {k: v for k, v in paths.items() if not k.startswith("pymc") and k != "posterior"},
    )
    assert list(found.fits) == ["ols", "mixedlm", "reml"]
    assert found.posterior is None
    assert found.pair == ("mixedlm", "reml")
