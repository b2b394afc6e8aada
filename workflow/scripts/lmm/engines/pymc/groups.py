"""What a posterior says of whole groups: log-likelihoods and replicated means, with random effects integrated out.

Both ask about a *new* group with the same design, as leave-one-group-out cross-validation does; ArviZ finds them in
posterior.nc under one name, with the observed means (`az.loo`, `az.plot_ppc_dist`, `az.plot_loo_pit`).
"""

import numpy as np

from lmm.likelihood.by_group import by_group, log_densities
from lmm.likelihood.problem import Problem
from lmm.moments.moments import Moments


def observed_means(moments: Moments) -> np.ndarray:
    """Mean response of each group, (J,); weighted if the rows are."""
    return moments.gram[:, 0] @ moments.basis.response / moments.gram[:, 0, 0]


def replicated_means(
    moments: Moments,
    fixed: tuple[str, ...],
    random: tuple[str, ...],
    beta: np.ndarray,
    roots: np.ndarray,
    sigmas: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mean response of a new group with the design of each group, at each set of parameters.

    With the means x_j and z_j of the group's n_j rows it is normal(x_j'beta, z_j'D z_j + sigma^2 / n_j); where rows
    are weighted the means are, too, and n_j is the sum of the weights.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed, random : tuple of str
        Names of X's and Z's columns.
    beta, roots, sigmas : (S, p), (S, q, q), (S,) arrays
        In original units; D = root root'.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    (S, J) array
    """
    size = moments.gram[:, 0, 0]
    mean = moments.gram[:, 0, :-1] / size[:, None]
    x, z = mean @ moments.basis.raw(fixed), mean @ moments.basis.raw(random)
    variance = (np.asarray(sigmas) ** 2)[:, None] / size
    for k in range(len(random)):
        variance += (roots[:, :, k] @ z.T) ** 2
    return beta @ x.T + np.sqrt(variance) * rng.standard_normal(variance.shape)


def group_draws(
    moments: Moments,
    problem: Problem,
    draws: tuple[np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, int],
    rng: np.random.Generator,
    most: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Draws of groups for posterior.nc: by name, then by factor, (chains, draws, J).

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    problem : Problem
        The model over moments, in the kernel's coordinates.
    draws : (S, p), (S, q, q), (S,) arrays
        beta, roots of D and sigma in original units, chain after chain.
    shape : (chains, draws)
        Chains and draws.
    rng : Generator
        Source of the random numbers.
    most : int
        Most numbers to keep of each; beyond it there are none.

    Returns
    -------
    dict
        log_likelihood, where moments allow it (`Moments.whole`) and rows have no weights, whose logarithms moments do
        not hold by group; and posterior_predictive.
    """
    if len(draws[-1]) * moments.n_groups > most:
        return {}
    structure = problem.structure
    gram, found = None if moments.weighted else by_group(moments, problem), {}
    if gram is not None:
        found["log_likelihood"] = log_densities(problem, gram, moments.n, *draws)
    found["posterior_predictive"] = replicated_means(moments, problem.fixed, structure.random, *draws, rng)
    return {name: {moments.group: array.reshape(*shape, -1)} for name, array in found.items()}
