"""The criterion's terms at many points in one call.

A call that hands over all moments and takes back all terms costs some 0.15 ms, ten times the terms of a small design.
"""

from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.dense_remainder import dense_terms
from lmm.likelihood.leading import Leading
from lmm.likelihood.marginal import log_density_of
from lmm.likelihood.remainder import Layout
from lmm.likelihood.sparse_remainder import sparse_terms


class Inputs(NamedTuple):
    """A problem's arrays; see `SeveralProblem`. `indptr` and `rows` are empty for a dense remainder."""

    lead: Leading
    layout: Layout
    indptr: np.ndarray
    rows: np.ndarray
    rest: np.ndarray
    rest_edge: np.ndarray
    total: np.ndarray


@kernel
def terms_of(inputs, lams, ridge):
    """REML's terms at one point, without derivatives, of either kind of remainder.

    Parameters
    ----------
    inputs : Inputs
        The problem's arrays.
    lams : (K, m, m) array
        From `SeveralProblem.packed`.
    ridge : (p + 1, p + 1) array
        sigma^2 times the Gram matrix of a normal prior on beta.

    Returns
    -------
    Terms
    """
    lead, layout, indptr, rows, rest, rest_edge, total = inputs
    if len(indptr) > 0:
        return sparse_terms(lead, layout, indptr, rows, rest, rest_edge, total, lams, ridge, True, False)
    return dense_terms(lead, layout, rest, rest_edge, total, lams, ridge, True, False)


@kernel
def values_at_points(inputs, lams, owns, prior, df, constant):
    """Log density and what the fixed effects need, at S points.

    Parameters
    ----------
    inputs : Inputs
        The problem's arrays.
    lams : (S, K, m, m) array
        From `SeveralProblem.packed`.
    owns : (S,) array
        sigma in the kernel's units.
    prior : (p + 1, p + 1) array
        Gram matrix of beta's normal prior in the kernel's coordinates; zeros where it is flat.
    df : float
        N - p.
    constant : float
        See `marginal.log_density_of`.

    Returns
    -------
    value : (S,) array
        NaN where it cannot be evaluated.
    beta, phi : (S, p), (S, p, p) arrays
        GLS estimates and (X'V^-1 X)^-1.
    """
    n, p = len(owns), len(prior) - 1
    value, beta, phi = np.empty(n), np.empty((n, p)), np.empty((n, p, p))
    for s in range(n):
        terms = terms_of(inputs, lams[s], prior * owns[s] ** 2)
        value[s] = log_density_of(terms.logdet, terms.rss, owns[s], df, constant)
        beta[s], phi[s] = terms.beta, terms.phi
    return value, beta, phi
