"""Seeds: each purpose has its own stream, and each draw comes from the stream of its purpose."""

import zlib

import numpy as np
import pytest

import problems
from lmm.config.load import load
from lmm.core.streams import PURPOSES, design_key, seed_sequence, stream
from lmm.likelihood.problem import layout
from lmm.recovery.data import Bootstrap, Simulated, root_of, sampler_seed
from lmm.simulation import moments as simulate_moments
from lmm.simulation.from_priors import simulation_from_priors
from lmm.simulation.rows import simulate

SEED, KEY, REPLICATE = 5, "7ae3af931674", 2
# The first 64 bits of each stream at that address. A change of one of them is a change of every study that was
# ever simulated from its seed.
FIRST = {
    "groups": 8591183256125847547,
    "predictors": 2393863800110687881,
    "ranef": 4834848870790939839,
    "errors": 13083399484967327404,
    "parameters": 7926674657360312355,
    "moments": 415263439864212251,
    "mcmc": 9801253661303747723,
    "rows": 9747745113195976149,
}
NUMBERS = {"groups": 0, "predictors": 1, "ranef": 2, "errors": 3, "parameters": 4, "moments": 5}
STUDY = {
    "formula": "y ~ x + (x | group)",
    "simulate": {
        "seed": SEED,
        "rows": 30,
        "groups": 4,
        "fixed": {"Intercept": 3, "x": 0.5},
        "sd": {"Intercept": 2, "x": 1},
        "sigma": 0.5,
    },
}


def own(purpose: str, name: str = "") -> np.random.Generator:
    """A generator whose address is written out here."""
    path = (int(KEY, 16), REPLICATE, NUMBERS[purpose], *([zlib.crc32(name.encode())] if name else []))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(SEED, spawn_key=path)))


@pytest.fixture(scope="module")
def study():
    return load({"studies": {"a": STUDY}}).studies["a"]


def test_a_designs_key_is_that_of_its_canonical_text():
    assert design_key({"groups": 4}) == KEY


def test_the_first_bits_of_every_stream_are_pinned():
    assert FIRST.keys() == PURPOSES.keys()
    sequence = seed_sequence(SEED, KEY, REPLICATE)
    assert {name: int(stream(sequence, name).bit_generator.random_raw()) for name in FIRST} == FIRST
    assert int(stream(sequence, "predictors", "x").bit_generator.random_raw()) == 9484095383022562860
    assert sampler_seed(123, KEY, REPLICATE) == 772768299


def test_simulated_rows_come_from_the_streams_of_their_purposes(study):
    frame, truth = simulate(study.simulate, study.formula, seed_sequence(SEED, KEY, REPLICATE))
    codes = own("groups").integers(4, size=30)
    x = own("predictors", "x").normal(0.0, 1.0, 30)
    effects = np.column_stack(
        [sd * own("ranef", name).standard_normal(4) for name, sd in truth["sd"].items()]
    )
    errors = 0.5 * own("errors").standard_normal(30)
    assert (frame["group"] == (codes + 1).astype(str)).all()
    assert (frame["x"] == x).all()
    assert [list(values.values()) for values in truth["ranef"].values()] == effects.T.tolist()
    expected = 3.0 + effects[codes, 0] + (0.5 + effects[codes, 1]) * x + errors
    # sums of four numbers of order 1 to 10, in another order
    np.testing.assert_allclose(frame["y"], expected, atol=1e-14)


def test_parameters_of_calibration_come_from_their_stream(study):
    priors = {"fixed": "normal(0, 2)", "sd": "half_normal(1)", "sigma": "half_normal(1)", "corr": "lkj(2)"}
    priors["blocks"] = {"group": [["Intercept", "x"]]}
    source = Simulated([STUDY["formula"]], KEY, study.simulate, SEED, priors=priors)
    expected = simulation_from_priors(own("parameters"), study.simulate, source.terms, priors)
    assert source.parameters(REPLICATE) == expected


def test_a_bootstrap_draws_from_the_streams_of_its_purposes():
    moments, terms = problems.moments_of("sleepstudy")
    estimates = np.array([[250.0, 10.0, 24.0, 6.0, 0.1, 25.0], [240.0, 11.0, 20.0, 5.0, 0.3, 30.0]])
    data = Bootstrap(moments, terms, KEY, SEED, estimates).draw(REPLICATE)
    values = estimates[own("parameters").integers(2)]
    root = root_of(layout(terms.blocks), values[2:])
    effects = own("ranef").standard_normal((18, 2)) @ root.T
    expected = simulate_moments.draw(
        own("moments"),
        simulate_moments.prepare(moments),
        terms.fixed,
        values[:2],
        terms.random,
        effects,
        values[-1],
    )
    assert data.truth["sigma"] == values[-1]
    assert [list(found.values()) for found in data.truth["ranef"].values()] == effects.T.tolist()
    np.testing.assert_array_equal(data.moments.gram, expected.gram)
    np.testing.assert_array_equal(data.moments.total, expected.total)
