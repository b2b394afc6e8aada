"""The posterior of the variance parameters of one grouping factor, as `importance` samples it."""

from dataclasses import dataclass

import numpy as np

from lmm.engines.pymc.posterior import given_draws
from lmm.engines.pymc.priors import Priors
from lmm.engines.pymc.unconstrained import Factor, Space
from lmm.likelihood.marginal import log_density
from lmm.moments.moments import Moments


def factor_of(priors: Priors, moments: Moments, sigma: float) -> Factor:
    """Coordinates of a factor's variance parameters: c is sigma over the root of a level's mean sum of z^2.

    Parameters
    ----------
    priors : Priors
        In whose coordinates the random effects are.
    moments : Moments
        The factor's.
    sigma : float
        About the residual sd.

    Returns
    -------
    Factor
    """
    zz = priors.random_map.T @ moments.mean_zz(priors.structure.random) @ priors.random_map
    size = np.maximum(np.diag(zz), 1e-300) * moments.n_rows / moments.n_groups
    return Factor(priors.structure, tuple(priors.sd.values()), sigma / np.sqrt(size), priors.corr.args[0])


@dataclass(frozen=True)
class GroupedTarget:
    """`importance.Target` over packed moments.

    Attributes
    ----------
    space : Space
    packed : (n,) array
        From `likelihood.marginal.pack_problem`.
    rng : Generator
        For the fixed effects, which are drawn with each point.
    """

    space: Space
    packed: np.ndarray
    rng: np.random.Generator

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Log posterior at points (N, d), and the results of `given_draws` there."""
        (roots,), sigmas = self.space.roots(points)
        noise = self.rng.standard_normal((len(points), int(self.packed[1])))
        *given, density = given_draws(self.packed, roots, sigmas, noise, np.ones(len(points), dtype=bool))
        return density + self.space.log_prior(points), tuple(given)

    def slope(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior and gradient at a point, (d,)."""
        (roots,), sigmas = self.space.roots(point[None])
        found = log_density(self.packed, roots[0], float(sigmas[0]))
        gradient = self.space.gradient(point, [found[1:-1].reshape(roots[0].shape)], found[-1])
        return found[0] + float(self.space.log_prior(point[None])[0]), gradient
