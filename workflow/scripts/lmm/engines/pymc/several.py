"""The posterior of a model with several grouping factors, and its two samplers.

Both evaluate the same density (`likelihood.several_marginal`) in the same coordinates (`unconstrained`): importance
sampling its values, nutpie's NUTS its values and gradients, which it takes as a Python function.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from lmm.core.progress import Progress
from lmm.engines.pymc import importance
from lmm.engines.pymc.attempts import STATS, Draws, Setting
from lmm.engines.pymc.chains import MATRICES
from lmm.engines.pymc.grouped import factor_of
from lmm.engines.pymc.importance import Target
from lmm.engines.pymc.sampling import drawn_at, exact_rng, points_of, proposal_rng
from lmm.engines.pymc.several_chains import SeveralChains
from lmm.engines.pymc.several_draws import given_at
from lmm.engines.pymc.several_priors import SeveralPriors
from lmm.engines.pymc.unconstrained import Space
from lmm.inference.several_derivatives import by_factors
from lmm.inference.several_intervals import values as variance_values
from lmm.inference.several_optimum import SeveralOptimum, optimum
from lmm.inference.unidentified import unidentified
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.likelihood.several_problem import SeveralProblem
from lmm.moments.several import SeveralMoments

# Points of importance sampling: as many as cost about this many products of two numbers, some tens of seconds.
WORK = 4e11


@dataclass(frozen=True)
class Several:
    """See `sampling.Posterior`.

    Attributes
    ----------
    problem : SeveralProblem
    priors : SeveralPriors
    moments : SeveralMoments
    """

    problem: SeveralProblem
    priors: SeveralPriors
    moments: SeveralMoments

    @cached_property
    def density(self) -> SeveralMarginal:
        """The likelihood in the priors' coordinates."""
        maps = [priors.random_map for priors in self.priors.factors]
        return SeveralMarginal.of(self.problem, maps, **self.priors.shared.normal)

    @cached_property
    def best(self) -> SeveralOptimum:
        """REML's optimum."""
        return optimum(self.problem)

    @property
    def lost(self) -> list[str]:
        """Variance parameters that the data do not determine, at REML's optimum."""
        problem = self.problem
        return unidentified(by_factors(problem, self.best), problem.structures, problem.groups)

    @cached_property
    def start(self) -> np.ndarray:
        """REML's estimates in the priors' coordinates, in the order of `SeveralPriors.keys`."""
        best = self.best
        pairs = zip(self.priors.factors, best.roots, strict=True)
        roots = [np.linalg.solve(priors.random_map, root) for priors, root in pairs]
        return np.nan_to_num(variance_values(self.problem, roots, best.sigma))

    def target(self, rng: np.random.Generator) -> Target:
        """The log posterior.

        Parameters
        ----------
        rng : Generator
            For the fixed effects.

        Returns
        -------
        Target
        """
        sigma = self.start[-1]
        pairs = zip(self.priors.factors, self.moments.factors, strict=True)
        factors = tuple(factor_of(priors, moments, sigma) for priors, moments in pairs)
        space = Space(factors, self.priors.shared.sigma, sigma)
        return Target(space, self.problem.p, partial(given_at, self.density), self.density.slope, rng)

    def by_importance(self, setting: Setting) -> SeveralChains:
        """Draws by importance sampling; fixed effects are drawn with the weighted points.

        Parameters
        ----------
        setting : Setting
            chains x draws points, and the seed.

        Returns
        -------
        SeveralChains
        """
        rng = proposal_rng(setting)
        target = self.target(rng)
        count = points_of(setting, min(int(WORK / self.problem.cost), MATRICES // self.problem.p**2))
        found = importance.sample(target, target.space.point(self.start), count, rng)
        draws = drawn_at(found, target.space, rng)
        return SeveralChains(self.density, self.priors, draws, exact_rng(setting))

    def by_nuts(self, setting: Setting) -> SeveralChains:
        """Draws by NUTS.

        Parameters
        ----------
        setting : Setting
            Chains, draws, seed and the like.

        Returns
        -------
        SeveralChains
        """
        target = self.target(proposal_rng(setting))
        draws = by_nutpie(target, target.space.point(self.start), setting)
        return SeveralChains(self.density, self.priors, draws, exact_rng(setting))


def by_nutpie(target: Target, start: np.ndarray, setting: Setting) -> Draws:
    """Sample a target by nutpie's NUTS; each chain starts within +-1 of `start`.

    Parameters
    ----------
    target : Target
        Log posterior and gradient.
    start : (d,) array
        Coordinates.
    setting : Setting
        Chains, draws, seed and the like.

    Returns
    -------
    Draws
    """
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    size = len(start)

    def density() -> Any:
        def at(point: np.ndarray) -> tuple[float, np.ndarray]:
            (value,), (gradient,) = target.slopes(np.asarray(point)[None])
            if not np.isfinite(gradient).all():
                return np.nan, np.zeros(size)  # nutpie counts it as a divergence
            return value, gradient

        return at

    def kept(*_: Any) -> Any:
        return lambda point: {"point": np.asarray(point)}

    compiled = from_pyfunc(
        size,
        density,
        kept,
        [np.dtype(np.float64)],
        [(size,)],
        ["point"],
        make_initial_point_fn=lambda seed: start + np.random.default_rng(seed).uniform(-1.0, 1.0, size),
    )
    with Progress("sampling", setting.chains * (setting.tune + setting.draws)) as progress:
        tree = nutpie.sample(
            compiled,
            draws=setting.draws,
            tune=setting.tune,
            chains=setting.chains,
            cores=setting.cores,
            seed=setting.seed,
            target_accept=setting.target_accept,
            progress_bar=False,
            progress_callback=lambda chains: progress.at(sum(chain.finished_draws for chain in chains)),
            progress_rate=1000,  # ms
            save_warmup=False,
        )
    points = tree["posterior"]["point"].to_numpy()  # chains, draws, d
    values = target.space.values(points.reshape(-1, size)).reshape(size, *points.shape[:2])
    stats = tree["sample_stats"]
    return Draws(values, {name: stats[name].to_numpy() for name in STATS if name in stats})
