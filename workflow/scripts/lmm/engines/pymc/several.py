"""The posterior of a model with several grouping factors, and its two samplers.

Both evaluate the same density (`likelihood.several_marginal`) in the same coordinates (`unconstrained`): importance
sampling its values, nutpie's NUTS its values and gradients, which it takes as a Python function.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lmm.core.progress import Progress
from lmm.engines.pymc import importance
from lmm.engines.pymc.attempts import STATS, Draws, Setting
from lmm.engines.pymc.chains import MATRICES
from lmm.engines.pymc.grouped import factor_of
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
class Target:
    """`importance.Target` over several factors.

    Attributes
    ----------
    space : Space
    density : SeveralMarginal
    rng : Generator
        For the fixed effects, which are drawn with each point.
    """

    space: Space
    density: SeveralMarginal
    rng: np.random.Generator

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Log posterior at points (N, d), and the results of `given_at` there.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (N,) array, tuple of arrays of N
        """
        roots, sigmas = self.space.roots(points)
        noise = self.rng.standard_normal((len(points), self.density.problem.p))
        *given, value = given_at(self.density, roots, sigmas, noise)
        return value + self.space.log_prior(points), tuple(given)

    def slope(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior and gradient at a point.

        Parameters
        ----------
        point : (d,) array
            Coordinates.

        Returns
        -------
        float, (d,) array
        """
        with np.errstate(all="ignore"):  # far away sds are 0 or infinite, and what comes of it is not finite
            roots, sigmas = self.space.roots(point[None])
            value, d_roots, d_sigma = self.density.slope([root[0] for root in roots], sigmas[0])
            prior = float(self.space.log_prior(point[None])[0])
            return value + prior, self.space.gradient(point, d_roots, d_sigma)


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

    def space(self) -> Space:
        """Coordinates of all variance parameters."""
        sigma = self.start[-1]
        pairs = zip(self.priors.factors, self.moments.factors, strict=True)
        factors = tuple(factor_of(priors, moments, sigma) for priors, moments in pairs)
        return Space(factors, self.priors.shared.sigma, sigma)

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
        target = Target(self.space(), self.density, rng)
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
        target = Target(self.space(), self.density, proposal_rng(setting))
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
            value, gradient = target.slope(np.asarray(point))
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
