"""The catalogue of engines: what the rest of the project asks of it."""

import pytest

from lmm.core import engines


def test_files_of_a_fit():
    """A table of random effects only of engines that have some."""
    assert engines.row("ols").files == {"parameters": "parameters.csv", "diagnostics": "diagnostics.json"}
    assert engines.row("mixedlm").files == {
        "parameters": "parameters.csv",
        "diagnostics": "diagnostics.json",
        "ranef": "ranef.parquet",
        "coef": "coef.parquet",
    }


def test_engines_by_what_they_do():
    """In the order of the report; a name that is none of ours is taken for a mixed model's and comes last."""
    names = ["toy", "pymc", "ols", "reml", "mixedlm"]
    assert engines.ordered(names) == ["ols", "mixedlm", "reml", "pymc", "toy"]
    assert engines.mixed(names) == ["mixedlm", "reml", "pymc", "toy"]
    assert [engines.pooled(name) for name in names] == [False, False, True, False, False]
    assert engines.of_family(names, engines.BAYES, engines.LIKELIHOOD) == ["pymc", "mixedlm"]
    assert engines.first(names, engines.EXACT) == "reml"
    assert engines.first(["ols"], engines.EXACT) is None
    assert engines.belongs("reml", engines.POOLED, engines.EXACT)
    assert not engines.belongs("toy", engines.POOLED, engines.EXACT)


@pytest.mark.parametrize(
    ("name", "settings", "reads"),
    [
        ("ols", {}, True),  # where there are some
        ("reml", {}, False),
        ("pymc", {}, False),
        ("pymc", {"sampler": "full"}, True),
        ("pymc", {"sampler": "nuts"}, False),
    ],
)
def test_which_fits_read_rows(name, settings, reads):
    assert engines.row(name).reads_rows(settings) is reads
