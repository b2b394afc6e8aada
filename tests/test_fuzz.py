"""Whatever stands in a configuration, a header, a formula or a truth file: it is used, or refused in one line."""

import json

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lmm.config.load import load
from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.model.formula import parse
from planning import configuration, kept

FUZZ = settings(
    max_examples=75,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates(),
    st.sampled_from(["normal", "y ~ x + (x | g)", "auto", "1e5", "", ".", "{x}", "\ud800", "a\0b", 10**400, -1, 0]),
)  # fmt: skip
keys = st.one_of(
    st.sampled_from(
        ["formula", "simulate", "data", "engines", "pymc", "reml", "priors", "fixed", "sd", "corr", "sigma", "groups",
         "rows_per_group", "sizes", "poisson", "predictors", "x", "binary", "designs", "replicates", "csv",
         "delimiter", "encoding", "missing_values", "predict", "truth", "conf_level", "title", "seed", "bootstrap",
         "calibration"]
    ),
    st.text(max_size=6), st.integers(), st.none(), st.dates(), st.floats(allow_nan=False),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


def one_line(error: StudyError) -> None:
    """A message for users: one line, and never a traceback."""
    assert str(error).isprintable() and str(error).strip()
    assert "Traceback" not in str(error)


def answered(call, *arguments) -> None:
    """The call returns, or says what is wrong."""
    try:
        call(*arguments)
    except StudyError as error:
        one_line(error)


@FUZZ
@given(values)
@example({"\n": None})
@example({"studies": {"a\nb": {"\ud800": "\x1b[31m"}}})
def test_any_configuration(tmp_path, value):
    answered(load, value, tmp_path)
    if isinstance(value, dict):
        kept.fingerprint(value, tmp_path)


@FUZZ
@given(st.dictionaries(keys, values, max_size=4))
def test_any_study(tmp_path, study):
    """Below a study's name, where the keys that are known lead further."""
    config = {"studies": {"s": {"formula": "y ~ x + (x | g)", "simulate": {"groups": 10}} | study}}
    answered(load, config, tmp_path)
    kept.fingerprint(config, tmp_path)


@FUZZ
@given(
    path=st.lists(
        st.sampled_from(
            ["simulate", "engines", "pymc", "priors", "predictors", "x", "rows_per_group", "csv"]
        ),
        min_size=1,
        max_size=4,
    ),
    value=values,
)
def test_any_value_of_any_key(tmp_path, path, value):  # fmt: skip
    study = {"formula": "y ~ x + (x | g)", "simulate": {"groups": 10}}
    at = study
    for key in path[:-1]:
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            return
    at[path[-1]] = value
    answered(load, {"studies": {"s": study}}, tmp_path)


@FUZZ
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
@example(b"studies: \xff\xfe")
@example("{a: 1}".encode("utf-32"))
@example(b"? [a]\n: 1")
@example(b"a: !!timestamp 2024-99-99")
@example(b"a: 2024-02-31")
@example(b"a: 0x" + b"f" * 9000)
@example(b"a: 1" + b":59" * 3000)
@example(b"*x")
@example(b"a: &x [*x]")
@example(b"%YAML 9.9\n---\na: 1")
@example(b"--- a\n--- b")
def test_any_bytes_as_a_configuration_file(tmp_path, content):
    (tmp_path / "c.yaml").write_bytes(content)
    try:
        configuration.check(tmp_path / "c.yaml")
    except StudyError as error:
        one_line(error)
        return
    answered(load, yaml.safe_load(content.decode()), tmp_path)  # what Snakemake would hand on


names = st.text(max_size=10) | st.sampled_from(
    ["class", "C", "np", "log", "I", "scale", "a b", "x:z", "f[T.a]", "Observation", "$x$", "a.b.c", "Intercept", "`",
     '"']
)  # fmt: skip


@FUZZ
@given(header=st.lists(names, min_size=1, max_size=5), rows=st.lists(st.text(max_size=15), max_size=4))
@example(header=["y", "x", "g"], rows=['"', '"a,b'])
@example(header=["\ufeffy", "x", "g"], rows=["1,2,3"])
@example(header=["y" * 200_000, "x"], rows=["1,2"])
def test_any_header(tmp_path, header, rows):
    """A file is read or refused, whatever its names: and so is a model of its first columns."""
    text = "\n".join([",".join(header), *rows]) + "\n"
    (tmp_path / "d.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    answered(ingest.inspect, str(tmp_path / "d.csv"), header[:3], header[0])


@FUZZ
@given(st.binary(max_size=300), st.sampled_from(["csv", "tsv", "csv.gz", "parquet"]))
def test_any_bytes_as_data(tmp_path, content, suffix):
    (tmp_path / f"d.{suffix}").write_bytes(content)
    answered(ingest.inspect, str(tmp_path / f"d.{suffix}"), (), "")


pieces = st.sampled_from(
    ["y", "~", "x", "+", "-", "*", ":", "**", "^", "(", ")", "|", "||", "g", "1", "0", "C(", "I(", "np.log(", "`",
     "`class`", " ", ".", "%in%", "/", ",", "'", '"', "{", "}", "[", "]", "as_date(", "poly(", "2", "contr.sum", "\\",
     "\n", "é", "="]
)  # fmt: skip


@FUZZ
@given(st.lists(pieces, max_size=14).map("".join) | st.text(max_size=30))
@example("y ~ " + "(" * 400 + "x" + ")" * 400 + " + (1 | g)")
@example("y ~ I(" + "-" * 3000 + "x) + (1 | g)")
@example("y ~ " + "I(" * 300 + "x" + ")" * 300 + " + (1 | g)")
def test_any_formula(text):
    answered(parse, text)
    answered(parse, f"y ~ x + {text} + (x | g)")


@FUZZ
@given(values)
@example([])
@example(float("nan"))
@example({"fixed": [], "sd": {}, "corr": {}, "sigma": 1})
@example({"fixed": {"Intercept": None}, "sd": {}, "corr": {}, "sigma": 1})
def test_any_truth_file(tmp_path, value):
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError):
        return
    (tmp_path / "t.json").write_text(text)
    (tmp_path / "d.csv").write_text("y,x,g\n1,2,a\n")
    study = {"formula": "y ~ x + (x | g)", "data": str(tmp_path / "d.csv"), "truth": str(tmp_path / "t.json")}
    answered(load, {"studies": {"s": study}}, tmp_path)


@pytest.mark.parametrize("depth", [20, 60, 10_000])
def test_nesting(tmp_path, depth):
    (tmp_path / "c.yaml").write_text("studies: " + "{a: " * depth + "1" + "}" * depth)
    if depth == 20:
        configuration.check(tmp_path / "c.yaml")
        return
    with pytest.raises(StudyError, match="is nested too deeply"):
        configuration.check(tmp_path / "c.yaml")
