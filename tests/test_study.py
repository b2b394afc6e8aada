"""The configuration: what is accepted, what crosses, and one line for every mistake."""

import copy
import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from lmm.config.load import Study, load
from lmm.core.errors import StudyError
from lmm.core.streams import design_key
from lmm.core.words import as_cell

ROOT = Path(__file__).parents[1]
COFFEE = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
ABSENT = object()


def changed(**changes):
    """The coffee configuration with keys changed: `simulate__groups=0`."""
    config = copy.deepcopy(COFFEE)
    for key, value in changes.items():
        at = config["studies"]["coffee"]
        *path, last = key.split("__")
        for part in path:
            at = at[part]
        if value is ABSENT:
            del at[last]
        else:
            at[last] = value
    return config


def test_coffee_as_the_interface_has_it():
    study = load(COFFEE).studies["coffee"]
    assert study.engines == ("ols", "mixedlm", "reml", "pymc")
    assert study.formula.blocks == ("1 + x",)
    assert study.formula_for("pymc").blocks == ("1", "0 + x")
    assert study.formula_for("reml") == study.formula
    simulate = study.simulate
    assert (simulate.generator, simulate.seed, simulate.rows, simulate.groups) == ("r", 1, 1000, 100)
    assert (simulate.fixed, simulate.sd) == ({"Intercept": 3, "x": 0.5}, {"Intercept": 10, "x": 1})
    pymc = study.engine("pymc")
    assert pymc["priors"] == {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat", "corr": "auto"}
    assert (pymc["chains"], pymc["tune"], pymc["draws"], pymc["seed"]) == (4, 1000, 2000, 123)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_ready_made(file):
    """Every ready-made configuration loads, and survives the way to a script as JSON."""
    for study in load(yaml.safe_load(file.read_text()), ROOT).studies.values():
        assert Study.from_plain(json.loads(json.dumps(study.plain()))) == study
        assert bool(study.files) == (study.simulate is None)


def test_defaults():
    study = load({"studies": {"a": {"formula": "y ~ x + (x | g)", "simulate": {}}}}).studies["a"]
    assert study.engines == ("ols", "mixedlm", "reml", "pymc")
    assert study.simulate.generator == "numpy"
    assert (study.simulate.n_groups, study.simulate.group_rows) == (30, 10)
    assert (study.settings.conf_level, study.settings.missing) == (0.95, "error")
    assert study.settings.on_failed_gate == "report"
    assert study.title == "y ~ x + (x | g)"


def test_engines_listed_are_the_engines():
    """`reml:` with nothing behind it is an engine with its defaults."""
    study = load(changed(engines={"pymc": {"chains": 2}, "reml": None})).studies["coffee"]
    assert study.engines == ("reml", "pymc")
    assert Study.from_plain(study.plain()).engines == ("reml", "pymc")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"simulat": {}}, "simulat: unknown key; did you mean 'simulate'?"),
        ({"simulate__row": 3}, "simulate.row: unknown key; did you mean 'rows'?"),
        ({"engines__pymc__prior": {}}, "engines.pymc.prior: unknown key; did you mean 'priors'?"),
        ({"engines__stan": {}}, "engines.stan: unknown key; expected one of: ols, mixedlm, reml, pymc"),
        ({"engines": {}}, "engines: none is listed"),
        ({"engines": ["ols"]}, "engines: ['ols']: expected a mapping"),
        ({"title": 3}, "title: 3: expected text"),
        ({"formula": ABSENT}, "formula: is missing"),
        ({"formula": 3}, "formula: 3: expected text"),
        ({"formula": "y ~ x + (x | group"}, "formula: 'y ~ x + (x | group': '(' is never closed"),
        ({"formula": "y ~ z + (z | group)"}, "simulate.fixed.x: not a term of the formula"),
        ({"formula": "y ~ x + (1 | group)"}, "simulate.sd.x: not a term of the formula"),
        ({"formula": "np.log(y) ~ x + (x | group)"}, "formula: response 'np.log(y)'"),
        ({"simulate": ABSENT}, "data: the study has neither"),
        ({"data": "x.csv"}, "data: the study has `data` and `simulate`"),
        ({"simulate": ABSENT, "data": "x.csv"}, "data: 'x.csv': no such file"),
        ({"simulate": ABSENT, "data": "config/data"}, "data: 'config/data' is a directory"),
        ({"simulate": ABSENT, "data": []}, "data: []: expected at least one file"),
        ({"simulate": 3}, "simulate: 3: expected a mapping"),
        ({"simulate__rows": "1000"}, "simulate.rows: '1000': expected a whole number without quotes"),
        ({"simulate__rows": 10.5}, "simulate.rows: 10.5: expected a whole number"),
        ({"simulate__rows": True}, "simulate.rows: true: expected a whole number"),
        ({"simulate__rows": [10, 20]}, "simulate.rows: [10, 20]: a list crosses into designs"),
        ({"simulate__groups": 0}, "simulate.groups: 0: expected at least 2"),
        ({"simulate__groups": 1001}, "simulate.groups: 1001 groups are more than 1000 rows allow"),
        ({"simulate__seed": -1}, "simulate.seed: -1: expected at least 0"),
        ({"simulate__sigma": 0}, "simulate.sigma: 0: expected more than 0"),
        ({"simulate__sigma": "1e-3"}, "simulate.sigma: '1e-3': expected a number without quotes and with a"),
        ({"simulate__sigma": float("nan")}, "simulate.sigma: nan: expected a finite number"),
        ({"simulate__sd": {"Intercept": -1, "x": 1}}, "simulate.sd.Intercept: -1: expected at least 0"),
        ({"simulate__sd": {"Intercept": 1}}, "simulate.sd.x: is missing; expected exactly Intercept, x"),
        ({"simulate__corr": 1.5}, "simulate.corr: 1.5: expected at most 1"),
        ({"simulate__corr": 0.5}, "simulate.corr: 0.5: generator 'r' draws independent effects"),
        ({"simulate__corr": {"Intercept.z": 0.3}}, "simulate.corr.Intercept.z: not a pair of random effects"),
        ({"simulate__generator": "R"}, "simulate.generator: 'R': expected 'numpy' or 'r'"),
        ({"simulate__rows_per_group": 5}, "simulate: rows 1000 and rows_per_group"),
        ({"simulate__rows": ABSENT, "simulate__rows_per_group": 5}, "simulate.rows: is missing"),
        ({"simulate__predictors": {"x": "gaussian"}}, "simulate.predictors.x: 'gaussian': expected a predic"),
        ({"simulate__predictors": {"w": "normal"}}, "simulate.predictors.w: not a predictor of the formula"),
        ({"simulate__predictors": {"x": "uniform"}}, "simulate.generator: 'r' draws a normal predictor"),
        ({"simulate__predictors": {"x": {"binary": 2}}}, "simulate.predictors.x: 2: expected less than 1"),
        ({"simulate__errors": {"student": 2}}, "simulate.errors: 2: expected more than 2"),
        ({"simulate__errors": {"student": 5}}, "simulate.generator: 'r' draws normal effects"),
        ({"engines__pymc__formula": "y ~ 1 + (1 | group)"}, "engines.pymc.formula: 'y ~ 1 + (1 | group)': f"),
        ({"engines__pymc__formula": "y ~ x + (1 | g)"}, "engines.pymc.formula: 'y ~ x + (1 | g)': group is"),
        ({"engines__pymc__formula": "y ~ x + (1 |"}, "engines.pymc.formula: 'y ~ x + (1 |'"),
        ({"engines__pymc__chains": 2.5}, "engines.pymc.chains: 2.5: expected a whole number"),
        ({"engines__pymc__model": "half"}, "engines.pymc.model: 'half': expected 'marginal' or 'full'"),
        ({"engines__pymc__priors__sd": "normal(0, 1)"}, "engines.pymc.priors.sd: 'normal(0, 1)': expected a"),
        ({"engines__pymc__priors__sd": "uniform(5, 1)"}, "engines.pymc.priors.sd: 'uniform(5, 1)': expected"),
        ({"engines__pymc__priors__sd": {"z": "flat"}}, "engines.pymc.priors.sd.z: not a term of the formula"),
        ({"engines__pymc__priors__fixed": "student_t(3, 0, 1)"}, "engines.pymc.priors.fixed: 'student_t(3,"),
        ({"conf_level": 95}, "conf_level: 95: expected at most 0.9999"),
        ({"missing": "ignore"}, "missing: 'ignore': expected 'error' or 'drop'"),
        ({"replicates": 0}, "replicates: 0: expected at least 1"),
        ({"replicates": -3}, "replicates: -3: expected at least 1"),
        ({"replicates": 2, "replicates_per_job": 0}, "replicates_per_job: 0: expected"),
        ({"calibration": True}, "calibration: true: is for a study with `replicates`"),
        ({"calibration": True, "replicates": 2}, "engines.pymc.priors.fixed: 'flat' is improper"),
        ({"designs": [{}]}, "designs: a table of designs needs `replicates`"),
        ({"replicates": 2, "simulate__groups": []}, "simulate.groups: []: expected at least one value"),
        ({"replicates": 2, "simulate__seed": [1, 2]}, "simulate.seed: [1, 2]: expected one value"),
        ({"replicates": 2, "simulate__groups": [10, 0]}, "simulate.groups: 0: expected at least 2"),
        ({"replicates": 2, "simulate__groups": [10, 10]}, "simulate: the design {'groups': 10} appears twic"),
        ({"replicates": 2, "designs": [{"group": 3}]}, "designs.0.group: unknown key; did you mean 'groups'"),
        ({"replicates": 2, "simulate_from": "moments"}, "simulate_from: 'moments': generator 'r' draws rows"),
    ],
)  # fmt: skip
def test_one_line_for_every_mistake(changes, line):
    with pytest.raises(StudyError) as caught:
        load(changed(**changes), ROOT)
    assert str(caught.value).startswith(f"studies.coffee.{line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "config: {}: expected a mapping"),
        ([], "config: []: expected a mapping"),
        ({"studys": {}}, "studys: unknown key; did you mean 'studies'?"),
        ({"studies": None}, "studies: None: expected at least one study"),
        ({"studies": {"A b": {}}}, "studies: study name 'A b'"),
        ({"studies": {"a": None}}, "studies.a.formula: the study is None"),
        (COFFEE | {"report": {"titel": "x"}}, "report.titel: unknown key; did you mean 'title'?"),
        (COFFEE | {"report": 3}, "report: 3: expected a mapping"),
    ],
)
def test_mistakes_outside_studies(config, line):
    with pytest.raises(StudyError) as caught:
        load(config)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("formula", "simulate", "line"),
    [
        ("y ~ x + (1 | g)", {"corr": 0.5}, "simulate.corr: 0.5: there is one random effect"),
        ("y ~ x + (x || g)", {"corr": 0.5}, "simulate.corr: 0.5: the formula makes"),
        ("y ~ x + z + (x + z | g)", {"corr": 0.5}, "simulate.corr: 0.5: there are several pairs"),
        (
            "y ~ x + z + (x + z | g)",
            {"corr": {"Intercept.x": 0.9, "Intercept.z": 0.9, "x.z": -0.9}},
            "simulate.corr: {'Intercept.x': 0.9, 'Intercept.z': 0.9, 'x.z': -0.9}: not positive semi-definit",
        ),
        ("y ~ x + (x | g)", {"rows_per_group": 1}, "simulate.rows_per_group: 1 row in every group"),
        ("y ~ x + (x | g)", {"rows_per_group": {"sizes": [3, 0]}}, "simulate.rows_per_group.sizes.1: 0: exp"),
        ("y ~ x + (x | g)", {"groups": 2, "rows_per_group": {"sizes": [3, 4, 5]}}, "simulate.rows_per_group"),
        ("y ~ a * b * c + (1 | g)", {"groups": 2, "rows": 8}, "simulate: 8 rows for 8 fixed effects"),
        ("y ~ C(x) + (1 | g)", {}, "formula: 'x' is categorical"),
        ("y ~ poly(x, 2) + (1 | g)", {}, "formula: 'poly(x, 2)' is stateful"),
        ("y ~ x + (1 | g)", {"generator": "r", "rows": 50}, "simulate.generator: 'r' draws y ~ x + (x | gro"),
    ],
)  # fmt: skip
def test_designs_that_cannot_be_simulated(formula, simulate, line):
    with pytest.raises(StudyError) as caught:
        load({"studies": {"a": {"formula": formula, "simulate": simulate}}})
    assert str(caught.value).startswith(f"studies.a.{line}")


def test_independent_effects_may_have_correlation_zero():
    study = load(changed(formula="y ~ x + (x || group)", engines={"ols": {}})).studies["coffee"]
    assert study.simulate.corr == 0


def grid(**study):
    base = {"formula": "y ~ x + (x | group)", "replicates": 5}
    return load({"studies": {"grid": base | study}}).studies["grid"]


def test_lists_cross():
    study = grid(
        simulate={
            "groups": [10, 30, 100],
            "rows_per_group": [5, {"poisson": 8}, {"sizes": [2, 3]}],
            "sd": {"Intercept": 2, "x": [0, 1]},
        }
    )
    assert len(study.designs) == 18
    assert len({design.key for design in study.designs}) == 18
    assert study.designs[0].values == {"groups": 10, "rows_per_group": 5, "sd.x": 0}
    assert study.designs[-1].values == {"groups": 100, "rows_per_group": "sizes(2, 3)", "sd.x": 1}
    assert study.designs[-1].settings.rows_per_group.sizes == [2, 3]
    assert study.designs[3].settings.sd == {"Intercept": 2, "x": 1}
    assert Study.from_plain(json.loads(json.dumps(study.plain()))) == study


def test_a_grid_grows_without_reshuffling():
    """Keys depend on the design alone: not on its neighbours, the seed, or how a default is written."""
    small = grid(simulate={"groups": [10, 30]})
    large = grid(simulate={"groups": [10, 20, 30], "seed": 7, "sigma": 1, "generator": "numpy"})
    assert [d.key for d in small.designs] == [large.designs[0].key, large.designs[2].key]
    # the key is a promise to stored results: a change of it must be made knowingly
    assert small.designs[0].key == design_key({"groups": 10})


def test_table_of_designs():
    study = grid(
        simulate={"rows": 200, "sd": {"Intercept": 2, "x": 1}},
        designs=[{"groups": 10}, {"groups": 20, "rows_per_group": [5, 8]}, {"groups": 10, "sd": {"x": 3}}],
    )
    assert [d.values for d in study.designs] == [
        {"groups": 10, "rows_per_group": None, "sd.x": 1},
        {"groups": 20, "rows_per_group": 5, "sd.x": 1},
        {"groups": 20, "rows_per_group": 8, "sd.x": 1},
        {"groups": 10, "rows_per_group": None, "sd.x": 3},
    ]
    assert study.designs[1].settings.rows is None
    assert study.designs[3].settings.sd == {"Intercept": 2, "x": 3}


def test_moments_leave_mixedlm_out_of_the_defaults():
    assert grid(simulate={}, simulate_from="moments").engines == ("ols", "reml", "pymc")
    with pytest.raises(StudyError, match="mixedlm needs rows"):
        grid(simulate={}, simulate_from="moments", engines={"mixedlm": {}})


def test_calibration_takes_proper_priors():
    priors = {"fixed": "normal(0, 1)", "sd": "half_normal(1)", "sigma": "exponential(1)", "corr": "lkj(2)"}
    assert grid(simulate={}, calibration=True, engines={"pymc": {"priors": priors}}).settings.calibration
    with pytest.raises(StudyError, match=r"priors.sd: 'auto' is scaled by data"):
        grid(simulate={}, calibration=True, engines={"pymc": {"priors": priors | {"sd": "auto"}}})
    with pytest.raises(StudyError, match="of the pymc engine"):
        grid(simulate={}, calibration=True, engines={"ols": {}})


def test_files_of_a_glob_in_order(tmp_path):
    for name in ("b.csv", "a.csv", "c.tsv"):
        (tmp_path / name).write_text("y,x,g\n")
    study = load({"studies": {"a": {"formula": "y ~ x + (1 | g)", "data": ["c.tsv", "*.csv"]}}}, tmp_path)
    assert study.studies["a"].files == ("c.tsv", "a.csv", "b.csv")


def test_plain_is_plain():
    """A NumPy number or a dataclass in a rule's params would silently not be tracked."""

    def check(value):
        assert type(value) in (dict, list, str, int, float, bool, type(None)), type(value)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(item)

    check(grid(simulate={"groups": [10, 30], "corr": 0.5}).plain())
    assert not isinstance(grid(simulate={}).designs[0].settings.sigma, np.generic)


@pytest.mark.parametrize(("groups", "sizes"), [(10**8, 2), (10**6, 100_000)])
def test_planning_does_not_take_longer_for_more_groups(groups, sizes):
    """Issue 10: under 10 s, of which this machine takes less than one; a plan has the sizes as they are written."""
    from planning.plan import study_plan

    simulate = {"groups": groups, "rows_per_group": {"sizes": [2 + k % 9 for k in range(sizes)]}}
    given = {
        "formula": "y ~ x + (x | group)",
        "simulate": simulate,
        "replicates": 10,
        "engines": {"reml": {}},
    }
    began = time.process_time()
    study = load({"studies": {"a": given}}).studies["a"]
    plan = study_plan(study)
    assert time.process_time() - began < 10
    assert study.simulate.n_groups == groups
    (design,) = plan["recovery"]["designs"].values()
    assert len(design["settings"]["rows_per_group"]["sizes"]) == sizes


def test_a_long_list_in_a_table_is_its_beginning():
    assert as_cell({"sizes": [3, 4]}) == "sizes(3, 4)"
    assert as_cell([*range(20)]) == ", ".join(map(str, range(20)))
    assert as_cell([*range(21)]) == ", ".join(map(str, range(20))) + ", ... 21 in all"
    assert as_cell({"sizes": [7] * 100_000}) == "sizes(" + "7, " * 20 + "... 100,000 in all)"


@pytest.mark.parametrize("search", [False, True])
def test_a_studys_configuration_has_its_design_as_it_is_written(search):
    """Two runs that differ in the seed of the replicates alone have configurations that differ in it."""
    kind = {"search": {"between": [5, 50], "term": "x"}} if search else {"replicates": 10}
    simulate = {"seed": 5, "rows_per_group": 4, "fixed": {"Intercept": 1, "x": 0.5}, "sd": {"Intercept": 2}}
    simulate |= {} if search else {"groups": [10, 20]}
    study = {"formula": "y ~ x + (1 | g)", "simulate": simulate, "engines": {"reml": {}}} | kind
    found = load({"studies": {"a": study}}).studies["a"].configuration
    assert found["simulate"] == simulate
    other = load({"studies": {"a": study | {"simulate": simulate | {"seed": 6}}}}).studies["a"].configuration
    assert other == found | {"simulate": simulate | {"seed": 6}}
    assert json.loads(json.dumps(found)) == found


def test_a_studys_configuration_says_when_its_replicates_end():
    until = {"measure": "bias", "term": "x", "mcse": 0.03}
    study = {"formula": "y ~ x + (1 | g)", "simulate": {}, "replicates": {"until": until, "at_most": 1500}}
    found = load({"studies": {"a": study}}).studies["a"].configuration
    assert found["replicates"]["at_most"] == 1500
    assert until.items() <= found["replicates"]["until"][0].items()
