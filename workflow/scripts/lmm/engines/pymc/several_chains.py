"""Draws of a model with several grouping factors, and what follows from them exactly: as `chains` for one factor."""

from functools import cached_property

import numpy as np
from scipy.special import ndtri

from lmm.core.progress import Progress
from lmm.engines.pymc.attempts import Draws
from lmm.engines.pymc.chains import FEWEST, Ranef, thin
from lmm.engines.pymc.coordinates import transformed
from lmm.engines.pymc.gates import convergence, ess_mean
from lmm.engines.pymc.posterior import FixedDraws, fixed_draws, mixture_quantile
from lmm.engines.pymc.several_draws import conditional_at, draw_effects, given_at
from lmm.engines.pymc.several_priors import SeveralPriors
from lmm.likelihood.problem import roots_of
from lmm.likelihood.several_marginal import SeveralMarginal

WORK = 20_000_000  # random effects x draws that the summaries look at; beyond it, draws are thinned
COST = 5e10  # products of two numbers that they may cost; each draw is about 5 evaluations of the criterion
MOST = 1_000  # draws that they look at
MIXTURE = 500  # of these, draws that the quantiles use
DRAWN = 1e11  # products of two numbers that draws of random effects may cost


class SeveralChains:
    """Draws of one data set with what follows from them.

    Parameters
    ----------
    density : SeveralMarginal
        The likelihood in the priors' coordinates.
    priors : SeveralPriors
        In whose coordinates the draws are.
    draws : Draws
        Of the variance parameters, in the order of `SeveralPriors.keys`.
    rng : Generator
        For the exact draws of fixed and random effects.
    """

    def __init__(
        self, density: SeveralMarginal, priors: SeveralPriors, draws: Draws, rng: np.random.Generator
    ):
        self.density, self.problem, self.priors, self.draws, self.rng = (
            density, density.problem, priors, draws, rng,
        )  # fmt: skip
        self.shape = draws.values.shape[1:]
        flat = draws.values.reshape(len(draws.values), -1)
        self.sigmas = np.ascontiguousarray(flat[-1])
        self.roots, values, at = [], [], 0
        for own in priors.factors:
            count = len(own.structure.terms) - 1
            part = np.concatenate([draws.values[at : at + count], draws.values[-1:]])
            self.roots.append(roots_of(own.structure, part.reshape(count + 1, -1))[0])
            values.append(transformed(own.structure, own.random_map, part)[:-1])
            at += count
        self.values = np.concatenate([*values, draws.values[-1:]])
        given = draws.given
        if given is None:
            noise = rng.standard_normal((len(self.sigmas), self.problem.p))
            given = given_at(density, self.roots, self.sigmas, noise)[:3]
        self.beta, self.away, half = given
        self.fixed: FixedDraws = fixed_draws(self.problem, self.beta, self.away, half)

    @property
    def points(self) -> np.ndarray | None:
        """The weighted point of each draw, where draws are resampled."""
        return None if self.draws.importance is None else self.draws.importance.at

    def by_chain(self, values: np.ndarray) -> np.ndarray:
        """(S, k) draws as (k, chains, draws).

        Parameters
        ----------
        values : (S, k) array
            Draws, chains one after the other.

        Returns
        -------
        (k, chains, draws) array
        """
        return np.ascontiguousarray(values.T).reshape(-1, *self.shape)

    @cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """`gates.convergence` of fixed effects and `SeveralPriors.keys`, as they are reported."""
        return convergence(np.concatenate([self.by_chain(self.fixed.draws), self.values]), self.points)

    @cached_property
    def watched(self) -> dict[str, np.ndarray]:
        """`measures`, and those of the variance parameters that were sampled at the predictors' means."""
        moved = self.priors.moved
        if not moved.any():
            return self.measures
        sampled = convergence(self.draws.values[moved], self.points)
        return {name: np.append(found, sampled[name]) for name, found in self.measures.items()}

    def effects(self) -> int:
        """Number of random effects of all factors."""
        pairs = zip(self.problem.levels, self.problem.structures, strict=True)
        return sum(len(levels) * len(structure.random) for levels, structure in pairs)

    def ranef(self, level: float, most: int = MOST) -> list[Ranef]:
        """Rao-Blackwellised summaries of every level's random effects, factor after factor.

        Parameters
        ----------
        level : float
            Of the intervals, between 0 and 1.
        most : int
            Number of draws looked at, at most.

        Returns
        -------
        list of Ranef
        """
        most = max(FEWEST, min(most, int(COST / self.problem.cost)))
        chosen = thin(len(self.sigmas), self.effects(), WORK, most)
        points = np.arange(len(self.sigmas)) if self.points is None else self.points
        _, first, place = np.unique(points[chosen], return_index=True, return_inverse=True)
        found = []
        with Progress("random effects given the draws", len(first)) as progress:
            for s in chosen[first]:
                found.append(conditional_at(self.density, [root[s] for root in self.roots], self.sigmas[s]))
                progress.advance()
        out = []
        for k in range(len(self.roots)):
            mean, variance, given = (
                np.stack([getattr(own[k], name) for own in found])
                for name in ("mean", "variance", "cond_variance")
            )
            share = np.bincount(place, minlength=len(first)) / len(chosen)
            middle = np.tensordot(share, mean, 1)
            between = np.tensordot(share, (mean - middle) ** 2, 1)
            sd = np.sqrt(np.tensordot(share, variance, 1) + between)
            some = place[thin(len(place), 1, MIXTURE, MIXTURE)]
            ends = _interval(mean[some], np.sqrt(variance[some]), level, middle, sd)
            if self.points is None:
                ess = min(float(self.measures["ess_mean"][self.problem.p :].min()), len(chosen))
                error = between / ess
            else:
                error = np.tensordot(share**2, (mean - middle) ** 2, 1)
            cond = np.sqrt(np.tensordot(share, given, 1))
            out.append(Ranef(middle, sd, cond, *ends, np.sqrt(error)))
        return out

    def keeps(self, most: int) -> bool:
        """Whether draws of all random effects are at most `most` numbers and are made in a short time."""
        total = len(self.sigmas)
        return total * self.effects() <= most and total * self.problem.cost <= DRAWN

    def draw_ranef(self) -> list[np.ndarray]:
        """Exact draws of the random effects, (chains, draws, J_k, q_k) per factor."""
        drawn = draw_effects(self.density, self.roots, self.sigmas, self.beta + self.away, self.rng)
        return [own.reshape(*self.shape, *own.shape[1:]) for own in drawn]

    def ess_ranef(self, draws: np.ndarray) -> np.ndarray:
        """Effective sample sizes of the means of drawn random effects.

        Parameters
        ----------
        draws : (chains, draws, J, q) array
            Of one factor.

        Returns
        -------
        (J, q) array
        """
        flat = draws.reshape(*self.shape, -1).transpose(2, 0, 1)
        return ess_mean(flat, self.points).reshape(draws.shape[2:])


def _interval(
    means: np.ndarray, sds: np.ndarray, level: float, middle: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Central interval of an equal mixture of normals of every random effect.

    Parameters
    ----------
    means, sds : (S, J, q) arrays
        Of the normals.
    level : float
        Of the interval, between 0 and 1.
    middle, sd : (J, q) arrays
        Of the mixture: where the search starts.

    Returns
    -------
    (J, q), (J, q) arrays
    """
    z, reach = float(ndtri(0.5 + 0.5 * level)), 12.0 * sd + 1e-300
    low, high = np.empty_like(middle), np.empty_like(middle)
    for at in np.ndindex(middle.shape):
        own = np.ascontiguousarray(means[:, *at]), np.ascontiguousarray(sds[:, *at])
        ends = middle[at] - reach[at], middle[at] + reach[at]
        low[at] = mixture_quantile(*own, 0.5 - 0.5 * level, *ends, middle[at] - z * sd[at])
        high[at] = mixture_quantile(*own, 0.5 + 0.5 * level, *ends, middle[at] + z * sd[at])
    return low, high
