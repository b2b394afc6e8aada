"""Whether a fit's variance parameters are determined by its data: their information at the estimates.

See `identified`: there before a fit, here at the estimated covariance, where it says how well these rows tell the
parameters apart.
"""

from collections.abc import Sequence

import numpy as np

from lmm.core.tidy import RESIDUAL, sd_name
from lmm.inference.degrees_of_freedom import expected_information
from lmm.inference.derivatives import Derivatives, complete, given
from lmm.inference.identified import Information
from lmm.likelihood.problem import Problem, Structure, roots_of

# Eigenvalue of the information, in units of the parameters' own, up to which it is 0 at estimates: parameters of
# which some combination is known a thousand times worse than each alone would be are not estimated. Derivatives
# of several factors come from differences, good to about 1e-9.
FLAT = 1e-6


def at_estimates(found: Derivatives, structures: Sequence[Structure]) -> Information:
    """The information of a model's variance parameters at their estimates.

    Where some direction seems to have none, in columns of each block of Z for which Z'V^-1 Z is the identity, because
    those of the data may be correlated.

    Parameters
    ----------
    found : Derivatives
        Without sigma^2.
    structures : sequence of Structure
        The random effects of each factor.

    Returns
    -------
    Information
    """
    whole = complete(found)
    matrix = expected_information(whole, np.linalg.inv(whole.information))
    index = {tuple(place): at for at, place in enumerate(found.elements.tolist())}
    change, places = np.eye(len(index) + 1), [(0, 0)] * len(index)
    plain = Information(matrix, np.diag(whole.traces), tuple(places), FLAT)
    if not plain.moved.any():
        return plain
    for k, structure in enumerate(structures):
        for block, (start, stop) in enumerate(structure.blocks):
            rows, cols = np.tril_indices(stop - start)
            at = np.array([index[k, start + a, start + b] for a, b in zip(rows, cols, strict=True)])
            gram = np.zeros((stop - start,) * 2)
            gram[rows, cols] = gram[cols, rows] = found.trace[at] * np.where(rows == cols, 1.0, 0.5)
            size = np.sqrt(np.diag(gram))
            turn = np.linalg.inv(np.linalg.cholesky(gram / np.outer(size, size))).T / size[:, None]
            one = turn[np.ix_(rows, rows)] * turn[np.ix_(cols, cols)]
            other = turn[np.ix_(rows, cols)] * turn[np.ix_(cols, rows)]
            change[np.ix_(at, at)] = (one + np.where(rows == cols, 0.0, other)).T
            for own in at:
                places[own] = (k, block)
    units = np.einsum("ma,ab,mb->m", change, whole.traces, change)
    return Information(change @ matrix @ change.T, units, tuple(places), FLAT)


def unidentified(
    found: Derivatives, structures: Sequence[Structure], groups: Sequence[str] = ()
) -> list[str]:
    """Tidy names of the variance parameters that the data do not determine at the estimates; none where all is well.

    Parameters
    ----------
    found : Derivatives
        Without sigma^2.
    structures : sequence of Structure
        The random effects of each factor.
    groups : sequence of str
        Names of the factors, where there are several: they stand beside the parameters' names then.

    Returns
    -------
    list of str
    """
    known = at_estimates(found, structures)
    names: list[str] = []
    for k, block in known.lost:
        structure, (start, stop) = structures[k], structures[k].blocks[block]
        own = [sd_name(name) for name in structure.random[start:stop]]
        pairs = zip(structure.correlations, structure.terms[len(structure.random) :], strict=False)
        own += [name for (first, _), name in pairs if start <= first < stop]
        names += [f"{name} of {groups[k]}" if groups else name for name in own]
    return [*names, RESIDUAL] if known.residual_lost else names


def unidentified_at(problem: Problem, values: np.ndarray) -> list[str]:
    """`unidentified` of one factor's model at any values of its parameters.

    Parameters
    ----------
    problem : Problem
        The model over moments.
    values : (k,) array
        In the order of `Structure.terms` and original units. A correlation that is not defined counts as 0.

    Returns
    -------
    list of str
    """
    roots, sigmas = roots_of(problem.structure, np.nan_to_num(values)[:, None])
    sigma = sigmas[0] / problem.y_scale
    return unidentified(
        given(problem, np.linalg.solve(problem.z_map, roots[0]) / sigma, sigma), [problem.structure]
    )


def not_identified(names: Sequence[str]) -> str:
    """What to say of a fit whose parameters the data do not determine."""
    return (
        f"the data do not determine {', '.join(names)}: other values of them fit as well, and the estimates are "
        "arbitrary; simplify the random effects"
    )
