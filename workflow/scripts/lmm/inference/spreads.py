"""Covariance parameters of one or several grouping factors, from values by name: an estimate's, or a posterior's."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lmm.core.tidy import RESIDUAL, by_term, variable
from lmm.inference.variance_explained import covariance_of
from lmm.model.terms import Terms


def root_of(D: np.ndarray) -> np.ndarray:
    """Roots of covariance matrices, singular ones included.

    Parameters
    ----------
    D : (..., q, q) array
        Positive semi-definite.

    Returns
    -------
    (..., q, q) array
        L with D = L L'.
    """
    values, vectors = np.linalg.eigh(D)
    return vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]


class Spreads(NamedTuple):
    """Sets of covariance parameters in original units.

    Attributes
    ----------
    covariances : list of (S, q_k, q_k) arrays
        D_k of each factor, in the formula's order.
    sigmas : (S,) array
    """

    covariances: list[np.ndarray]
    sigmas: np.ndarray

    @property
    def roots(self) -> list[np.ndarray]:
        """L_k with D_k = L_k L_k'."""
        return [root_of(D) for D in self.covariances]


def spreads_of(values: Mapping[str, Any], terms: Terms) -> Spreads:
    """Covariance parameters from values by `tidy.variable`, numbers or arrays of S draws.

    Parameters
    ----------
    values : mapping
        Of at least the variance parameters.
    terms : Terms
        Of the model.

    Returns
    -------
    Spreads
    """
    groups = [own.group for own in terms.groupings]
    covariances = []
    for own in terms.groupings:
        D = covariance_of(values, own.random, partial(variable, own.group, groups=groups))
        covariances.append(D.reshape(-1, *D.shape[-2:]))
    return Spreads(covariances, np.asarray(values[RESIDUAL], dtype=float).reshape(-1))


def spaced(total: int, count: int) -> np.ndarray:
    """Places of `count` draws of `total`, evenly spaced."""
    return (np.arange(count) * total) // count


def spaced_draws(posterior: Any, most: int) -> dict[str, np.ndarray]:
    """Evenly spaced draws of a posterior, chain after chain, by `tidy.variable`.

    Parameters
    ----------
    posterior : Dataset
        A group of posterior.nc.
    most : int
        Draws at most.

    Returns
    -------
    dict of (S,) arrays
    """
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    at = spaced(total, min(total, most))
    return {
        name: column.transpose("chain", "draw").to_numpy().reshape(-1)[at]
        for name, column in by_term(posterior).items()
    }
