"""Posterior draws of parameters, read back from posterior.nc."""

import numpy as np

from lmm.core.tidy import read_draws
from lmm.likelihood.problem import layout
from lmm.model.terms import Terms


def posterior_draws(path: str, terms: Terms) -> np.ndarray:
    """Draws of fixed effects and `Structure.terms`, (S, k), from posterior.nc."""
    return _draws(path, [*terms.fixed, *layout(terms.blocks).terms])


def fixed_draws(path: str, fixed: tuple[str, ...]) -> np.ndarray:
    """Draws of the fixed effects, (S, p), from posterior.nc."""
    return _draws(path, list(fixed))


def _draws(path: str, names: list[str]) -> np.ndarray:
    draws = read_draws(path)
    return np.stack([draws[name].ravel() for name in names], axis=1)
