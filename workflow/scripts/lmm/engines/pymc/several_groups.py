"""What a posterior of several grouping factors says of whole levels: as `groups` for one factor.

A level's log likelihood is that of its rows given all other rows, which is what leaving the level out needs
(`several_loo`). Replicated means are of a data set with the same design and new levels of every factor.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

from lmm.core.tidy import RESIDUAL
from lmm.data.rows import Rows
from lmm.engines.pymc.several_loo import ROWS, Joint, most_draws
from lmm.inference.spreads import Spreads, spreads_of
from lmm.model.terms import Terms
from lmm.moments.several import SeveralMoments, pairs_of


def other_means(moments: SeveralMoments, terms: Terms) -> dict[tuple[int, int], sparse.csr_array]:
    """Mean over the rows of each level of factor k of the columns of Z of factor l, by (k, l).

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors; weighted if the rows are.
    terms : Terms
        Of the model.

    Returns
    -------
    dict of (k, l) to (J_k, J_l q_l) sparse array
    """
    basis, found = moments.basis, {}
    raw = [basis.raw(own.random)[list(kept)] for own, kept in zip(terms.groupings, moments.kept, strict=True)]
    for k, m in pairs_of(len(moments.factors)):
        cells = moments.cells[k, m]
        for first, second, i, j, sums in (
            (k, m, cells.i, cells.j, cells.gram[:, 0] @ raw[m]),
            (m, k, cells.j, cells.i, cells.gram[:, :, 0] @ raw[k]),
        ):
            q = sums.shape[1]
            size = moments.factors[first].gram[i, 0, 0]
            column = (j[:, None].astype(np.int64) * q + np.arange(q)).ravel()
            shape = moments.factors[first].n_groups, moments.factors[second].n_groups * q
            values = (sums / size[:, None]).ravel()
            found[first, second] = sparse.csr_array((values, (np.repeat(i, q), column)), shape=shape)
    return found


def replicated_means(
    moments: SeveralMoments, terms: Terms, beta: np.ndarray, spreads: Spreads, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Mean response of each level's rows in a data set with new levels of all factors.

    The factors of a draw share its random effects; the errors' means are drawn for each factor by itself.

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors.
    terms : Terms
        Of the model.
    beta : (S, p) array
        In original units.
    spreads : Spreads
        S sets of covariance parameters.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    dict of str to (S, J_k) array
        By factor.
    """
    basis, others, count = moments.basis, other_means(moments, terms), len(beta)
    effects = [
        np.einsum("sja,sba->sjb", rng.standard_normal((count, factor.n_groups, root.shape[-1])), root)
        for factor, root in zip(moments.factors, spreads.roots, strict=True)
    ]
    out = {}
    for k, (factor, grouping) in enumerate(zip(moments.factors, terms.groupings, strict=True)):
        size = factor.gram[:, 0, 0]
        mean = factor.gram[:, 0, :-1] / size[:, None]
        found = beta @ (mean @ basis.raw(terms.fixed)).T
        found += np.einsum("ja,sja->sj", mean @ basis.raw(grouping.random), effects[k])
        for m, drawn in enumerate(effects):
            if m != k:
                found += (others[k, m] @ drawn.reshape(count, -1).T).T
        found += spreads.sigmas[:, None] / np.sqrt(size) * rng.standard_normal(found.shape)
        out[factor.group] = found
    return out


def level_densities(
    moments: SeveralMoments,
    prior: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    points: np.ndarray | None,
    read: Callable[[], Rows],
    group: str,
) -> tuple[dict[str, np.ndarray], str]:
    """log p(rows of a level | all other rows, D, sigma) at each draw, of one factor.

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors.
    prior : mapping
        Of the fixed effects, see `Joint`.
    values : mapping of str to (S,) array
        Draws by `tidy.variable`.
    points : (S,) int array or None
        The point of each draw, where draws repeat them.
    read : callable
        Returns the rows; called only where they are few enough.
    group : str
        The factor.

    Returns
    -------
    dict of str to (S, J) array
        By factor; empty where rows, draws or levels are too many, or where the rows of all other levels do not
        determine the fixed effects.
    str
        Why it is empty.
    """
    if moments.n_rows > ROWS:
        return {}, f"{moments.n_rows:,} rows, more than {ROWS:,}"
    rows, counts = read(), moments.n_groups
    joint = Joint(rows, moments.groups.index(group), prior)
    total = len(values[RESIDUAL])
    own = np.arange(total) if points is None else points
    _, first, again = np.unique(own, return_index=True, return_inverse=True)
    most = most_draws(joint, counts[group])
    if len(first) > most:
        what = (
            f"{len(first):,} different draws of {counts[group]:,} levels of {group}, more than {most:,} draws"
        )
        return {}, what
    density = joint.densities(spreads_of({name: draws[first] for name, draws in values.items()}, rows.terms))
    if np.isnan(density).any():
        return {}, f"without some level of {group} the other rows do not determine the fixed effects"
    return {group: density[again]}, ""
