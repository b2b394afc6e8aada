"""The posterior of a model with one grouping factor, and its two samplers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.engines.pymc import importance
from lmm.engines.pymc.attempts import Draws, Setting
from lmm.engines.pymc.chains import MATRICES, Chains, start_estimates
from lmm.engines.pymc.posterior import given_draws
from lmm.engines.pymc.priors import Priors, prior_numbers
from lmm.engines.pymc.sampling import drawn_at, exact_rng, points_of, proposal_rng
from lmm.engines.pymc.unconstrained import Factor, Space
from lmm.likelihood.marginal import log_density
from lmm.likelihood.problem import Problem
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
class Grouped:
    """See `sampling.Posterior`.

    Attributes
    ----------
    problem : Problem
    packed : (n,) array
        From `likelihood.marginal.pack_problem`.
    priors : Priors
    moments : Moments
    compiled : callable
        Returns nutpie's sampler of the model: called where NUTS is used.
    """

    problem: Problem
    packed: np.ndarray
    priors: Priors
    moments: Moments
    compiled: Callable[[], Any]

    def _chains(self, draws: Draws, setting: Setting) -> Chains:
        return Chains(self.problem, self.packed, draws, self.priors, exact_rng(setting), setting.cores)

    def _given(
        self, roots: Sequence[np.ndarray], sigmas: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        return given_draws(self.packed, roots[0], sigmas, noise, np.ones(len(sigmas), dtype=bool))

    def _density(self, roots: Sequence[np.ndarray], sigma: float) -> tuple[float, list[np.ndarray], float]:
        found = log_density(self.packed, roots[0], sigma)
        return found[0], [found[1:-1].reshape(roots[0].shape)], found[-1]

    def target(self, sigma: float, rng: np.random.Generator) -> importance.Target:
        """The log posterior.

        Parameters
        ----------
        sigma : float
            About the residual sd.
        rng : Generator
            For the fixed effects.

        Returns
        -------
        Target
        """
        space = Space((factor_of(self.priors, self.moments, sigma),), self.priors.sigma, sigma)
        return importance.Target(space, self.problem.p, self._given, self._density, rng)

    def by_importance(self, setting: Setting) -> Chains:
        """Draws by importance sampling; fixed effects are drawn with the weighted points.

        Parameters
        ----------
        setting : Setting
            chains x draws points, and the seed.

        Returns
        -------
        Chains
        """
        start, rng = start_estimates(self.problem, self.priors), proposal_rng(setting)
        target = self.target(start[-1], rng)
        count = points_of(setting, MATRICES // self.problem.p**2)
        found = importance.sample(target, target.space.point(start), count, rng)
        return self._chains(drawn_at(found, target.space, rng), setting)

    def by_nuts(self, setting: Setting) -> Chains:
        """Draws by NUTS.

        Parameters
        ----------
        setting : Setting
            Chains, draws, seed and the like.

        Returns
        -------
        Chains
        """
        data = {"moments": self.packed, "prior_numbers": prior_numbers(self.priors)}
        draws = self.compiled().sample(setting, data, start_estimates(self.problem, self.priors))
        return self._chains(draws, setting)
