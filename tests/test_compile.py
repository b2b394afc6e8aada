"""The compilation of a `pm.Model`: the lean wrappers, and nutpie's own where its internals are other ones."""

import ast
import inspect
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import nutpie
import nutpie.compile_pymc
import pymc as pm
import pytest

import problems
from conftest import ROOT
from lmm.config.engines import Pymc
from lmm.core import compiled
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import model as bayes_model
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.compile import LEAN, compile_model, lean_wrappers
from lmm.inference import newton


@pytest.mark.long
@pytest.mark.parametrize("blocks", [(("Intercept",), ("x",)), (("Intercept", "x"),)], ids=["||", "|"])
def test_the_lean_compilation_draws_what_nutpies_own_draws(blocks):
    """Same density, same gradient, same bits: only the way from C to the arrays differs."""
    moments, terms = problems.moments_of("coffee")
    _, resolved, packed = bayes.prepare(moments, terms.fixed, blocks, Pymc().model_dump()["priors"])
    sampler = bayes_model.Sampler(resolved, bayes_model.marginal_model(resolved, packed))
    data = {
        "moments": packed,
        "prior_numbers": bayes_model.prior_numbers(resolved),
    }
    start = np.array([9.0, 0.9, *([0.1] if len(blocks) == 1 else []), 1.0])
    setting = Setting(seed=1, chains=2, tune=100, draws=100, target_accept=0.8)
    lean = sampler.sample(setting, data, start)
    sampler.compiled = nutpie.compile_pymc_model(sampler.model, var_names=list(sampler.names))
    own = sampler.sample(setting, data, start)
    assert np.array_equal(lean.values, own.values)
    assert all(np.array_equal(lean.stats[name], own.stats[name]) for name in lean.stats)


# --- another nutpie ---


@pytest.fixture(scope="module")
def model() -> pm.Model:
    with pm.Model() as made:
        data, scale = pm.Data("data", np.array([1.0, 2.0, 4.0])), pm.Data("scale", np.array([[2.0]]))
        pm.Normal("y", pm.Normal("mean", 0.0, 10.0), scale[0, 0], observed=data)
    return made


def draws(compiled) -> np.ndarray:
    tree = nutpie.sample(compiled, draws=50, tune=50, chains=1, cores=1, seed=1, progress_bar=False)
    return tree["posterior"]["mean"].to_numpy()


@pytest.fixture(scope="module")
def expected(model) -> np.ndarray:
    return draws(nutpie.compile_pymc_model(model, var_names=["mean"]))


def test_the_lean_compilation_of_a_small_model_draws_what_nutpies_own_draws(model, expected):
    # the same arithmetic; where arrays lie in memory decides in which order a vectorised sum is rounded
    np.testing.assert_allclose(draws(compile_model(model, ["mean"])), expected, rtol=1e-9)


def unused(*arguments):
    raise AssertionError("a lean wrapper was made")


@pytest.fixture
def without_lean(monkeypatch):
    for name, lean in LEAN.items():
        monkeypatch.setitem(LEAN, name, replace(lean, make=unused))


def test_this_nutpie_gets_the_lean_wrappers(model, without_lean):
    with pytest.raises(AssertionError, match="a lean wrapper was made"):
        compile_model(model, ["mean"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_make_c_logp_func", "_density"),
        pytest.param("_make_c_expand_func", "_expansion", marks=pytest.mark.long),
        ("n_dim, logp_fn, user_data", "logp_fn, n_dim, user_data"),
        pytest.param(
            "numba.types.uint64,\n        numba.types.CPointer",
            "numba.types.int64,\n        numba.types.CPointer",
            marks=pytest.mark.long,
        ),
        pytest.param('"shared"', '"common"', marks=pytest.mark.long),
    ],
    ids=["no density", "no expansion", "other arguments", "other C signature", "other record"],
)
def test_another_nutpie_compiles_by_its_own_wrappers(monkeypatch, model, expected, without_lean, old, new):
    """Where a name, an argument, a C signature or the record is another one, nutpie's own wrappers are compiled."""
    text = inspect.getsource(nutpie.compile_pymc)
    assert old in text
    module = types.ModuleType("nutpie.compile_pymc")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text.replace(old, new), nutpie.compile_pymc.__file__, "exec"), vars(module))
    monkeypatch.setattr(nutpie, "compile_pymc", module)
    monkeypatch.setattr(nutpie, "compile_pymc_model", module.compile_pymc_model)
    np.testing.assert_array_equal(draws(compile_model(model, ["mean"])), expected)


@pytest.mark.parametrize(
    "error", [AttributeError("address"), np.linalg.LinAlgError("Eigenvalues did not converge")]
)
def test_without_coordinates_of_its_own_a_replicate_is_sampled_as_others(monkeypatch, error):
    """Another nutpie, or a density without curvature where it starts."""

    @dataclass(frozen=True)
    class Stub:
        initial_point_func: object = None

        def with_data(self, **_):
            return self

    def fails(*_):
        raise error

    asked = []
    monkeypatch.setattr(bayes_model, "whitened", fails)
    monkeypatch.setattr(nutpie, "sample", lambda compiled, **how: asked.append((compiled, how)))
    sampler = types.SimpleNamespace(compiled=Stub(), start=lambda estimates: estimates)
    setting = Setting(seed=1, chains=2, tune=100, draws=100, target_accept=0.8).quick()
    bayes_model.Sampler._run(sampler, setting, {}, np.array([1.0, -2.0]))
    ((compiled, how),) = asked
    assert np.abs(compiled.initial_point_func(3) - [1.0, -2.0]).max() <= 1.0
    assert "initial_step" not in how


def test_nutpies_functions_are_put_back():
    own = [getattr(nutpie.compile_pymc, name) for name in LEAN]
    with pytest.raises(ZeroDivisionError), lean_wrappers(nutpie.compile_pymc) as fits:
        assert fits
        assert all(getattr(nutpie.compile_pymc, name) is not was for name, was in zip(LEAN, own, strict=True))
        raise ZeroDivisionError
    assert [getattr(nutpie.compile_pymc, name) for name in LEAN] == own


def test_an_edit_of_a_module_compiles_anew_what_imports_it_and_nothing_else(tmp_path, monkeypatch):
    library = tmp_path / "lmm"
    texts = {
        "a": "from lmm.core.compiled import kernel\n@kernel\ndef f(x): return x\n",
        "b": "from lmm.a import f\n@kernel\ndef g(x): return f(x)\n",
        "c": "from lmm.b import g\n@kernel\ndef h(x): return g(x)\n",
        "d": "from lmm.plain import z\n@kernel\ndef k(x): return x\n",
        "plain": "z = 1\n",
    }
    library.mkdir()
    monkeypatch.setattr(compiled, "_library", library)

    def digests():
        compiled._source.cache_clear()
        compiled.digest_of.cache_clear()
        return {name: compiled.digest_of(str(library / f"{name}.py")) for name in "abcd"}

    for name, text in texts.items():
        (library / f"{name}.py").write_text(text)
    before = digests()
    assert len(set(before.values())) == 4
    (library / "b.py").write_text(texts["b"] + "# another line\n")
    after = digests()
    assert {name for name in "abcd" if before[name] != after[name]} == {"b", "c"}


COMPILES = {"kernel", "summed", "c_function"}


def compiled_functions(tree):
    """Functions of a module that a decorator of `core.compiled` compiles."""
    for node in tree.body:
        decorators = getattr(node, "decorator_list", [])
        if COMPILES & {getattr(getattr(own, "func", own), "id", "") for own in decorators}:
            yield node


def test_machine_code_depends_on_nothing_that_its_digest_does_not_see():
    """A constant or an intrinsic that is compiled in comes from a module that the digest follows."""
    found, looked_at = [], 0
    for path in sorted((ROOT / "workflow/scripts/lmm").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [
            node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module.startswith("lmm")
        ]
        _, seen = compiled._source(path)
        modules = {".".join(own.relative_to(ROOT / "workflow/scripts").with_suffix("").parts) for own in seen}
        unseen = {
            name.asname or name.name for node in imports for name in node.names if node.module not in modules
        }
        for function in compiled_functions(tree):
            looked_at += 1
            names = {node.id for own in function.body for node in ast.walk(own) if isinstance(node, ast.Name)}
            found += [(path.name, function.name, name) for name in sorted(names & unseen)]
    assert not found
    assert looked_at > 100


def test_whitened_depends_on_the_intrinsics_that_it_calls():
    scripts = ROOT / "workflow/scripts/lmm"
    assert scripts / "core/addresses.py" in compiled._source(scripts / "engines/pymc/whitened.py")[1]


def test_kernels_are_cached_beside_the_library_by_what_they_depend_on(monkeypatch):
    """Functions of other files are none of this cache's; nor is anything where the folder cannot be written."""
    own = newton.newton.py_func
    found = compiled.KernelLocator.from_function(own, newton.__file__)
    digest = compiled.digest_of(newton.__file__)
    assert Path(found.get_cache_path()) == compiled.CACHE / f"inference.newton-{digest}"
    assert found.get_source_stamp() == digest
    assert Path(found.get_cache_path()).is_dir(), "the kernels of this process were read from it"
    assert compiled.KernelLocator.from_function(own, __file__) is None
    monkeypatch.setattr(compiled.os, "access", lambda *_: False)
    assert compiled.KernelLocator.from_function(own, newton.__file__) is None
