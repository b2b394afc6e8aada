"""Draws of one data set, and what follows from them exactly: fixed effects and random effects."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lmm.core.progress import Progress
from lmm.engines.pymc.attempts import Draws, Setting
from lmm.engines.pymc.coordinates import transformed
from lmm.engines.pymc.gates import convergence, ess_mean, gate_fit, gate_importance
from lmm.engines.pymc.posterior import FixedDraws, draw_groups, fixed_draws, given_draws, summarise_groups
from lmm.engines.pymc.priors import Priors
from lmm.inference.intervals import variance_values
from lmm.inference.optimum import optimum
from lmm.inference.spreads import spaced
from lmm.likelihood.problem import Problem, roots_of

WORK = 4_000_000  # groups x draws that the random effects' summaries look at; beyond it, draws are thinned
MATRICES = 20_000_000  # elements of the fixed effects' covariance matrices that are kept, 160 MB; likewise
FEWEST = 100  # draws, however many groups
SPAN = 2_000_000  # groups x draws between two signs of progress
SERIES = 2_000  # random effects whose Monte Carlo errors come from their own series of draws


@dataclass(frozen=True)
class Ranef:
    """Posterior summaries of the random effects, (J, q) arrays in original units."""

    mean: np.ndarray
    sd: np.ndarray
    cond_sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mcse: np.ndarray


def start_estimates(problem: Problem, priors: Priors) -> np.ndarray:
    """REML's estimates in the priors' coordinates, off the boundary, where the sampler's scale has no value."""
    best = optimum(problem)
    root = np.linalg.solve(priors.random_map, best.root)
    values = variance_values(root, best.sigma, problem.structure.correlations)
    floor = 0.1 * np.abs(np.diag(problem.z_map)) * best.sigma / problem.y_scale
    values[: problem.q] = np.maximum(values[: problem.q], floor)
    return np.nan_to_num(values)


def thin(total: int, each: int, work: int, most: int | None = None) -> np.ndarray:
    """Which draws to use: all, or evenly spaced ones where `total` times `each` is more than `work` (or `most`).

    Parameters
    ----------
    total : int
        Number of draws.
    each : int
        Cost of a draw.
    work : int
        Most that is done.
    most : int or None
        At most so many.

    Returns
    -------
    array
    """
    keep = min(total, max(FEWEST, work // max(each, 1)), most or total)
    return spaced(total, keep)


class Chains:
    """Draws of one data set with what follows from them.

    Parameters
    ----------
    problem : Problem
    packed : (n,) array
        From `density.pack_problem`.
    draws : Draws
    priors : Priors
        In whose coordinates the draws are.
    rng : Generator
        For the exact draws of fixed and random effects.
    cores : int
        Threads for long summaries; the numbers do not depend on it.
    """

    def __init__(
        self,
        problem: Problem,
        packed: np.ndarray,
        draws: Draws,
        priors: Priors,
        rng: np.random.Generator,
        cores: int = 1,
    ):
        self.problem, self.packed, self.draws, self.rng = problem, packed, draws, rng
        self.priors, self.cores = priors, cores
        self.shape = draws.values.shape[1:]
        self.values = transformed(problem.structure, priors.random_map, draws.values)
        flat = draws.values.reshape(len(draws.values), -1)
        roots, self.sigmas = roots_of(problem.structure, flat)
        self.roots = priors.random_map @ roots
        total = len(self.sigmas)
        if draws.given is not None:
            self.beta, away, self.half, self.factors = draws.given
            self.kept = np.arange(total)
        else:
            noise = rng.standard_normal((total, problem.p))
            keep = np.zeros(total, dtype=bool)
            keep[thin(total, problem.p**2, MATRICES)] = True
            self.beta, away, self.half, self.factors, _ = self._shared(
                "fixed effects given the draws",
                total,
                problem.n_groups,
                lambda a, b: given_draws(packed, roots[a:b], self.sigmas[a:b], noise[a:b], keep[a:b]),
            )
            self.kept = np.flatnonzero(keep)
        self.fixed: FixedDraws = fixed_draws(problem, self.beta, away, self.half)

    def _shared(
        self, label: str, total: int, each: int, work: Callable[[int, int], tuple]
    ) -> list[np.ndarray]:
        """Arrays that `work` returns for 0 .. total, in spans by threads: each element is computed alone.

        `each` is what an element costs, in groups or draws; where all cost much the spans are many.
        """
        spans = min(self.cores * max(1, total * each // (SPAN * self.cores)), max(total, self.cores))
        if spans == 1:
            return list(work(0, total))
        edges = [total * k // spans for k in range(spans + 1)]
        parts = []
        with Progress(label, spans) as progress, ThreadPoolExecutor(self.cores) as pool:
            for part in pool.map(work, edges[:-1], edges[1:]):
                parts.append(part)
                progress.advance()
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

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

    @property
    def points(self) -> np.ndarray | None:
        """The weighted point of each draw, where draws are resampled."""
        return None if self.draws.importance is None else self.draws.importance.at

    @cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """`gates.convergence` of fixed effects and `Structure.terms`, as they are reported."""
        return convergence(np.concatenate([self.by_chain(self.fixed.draws), self.values]), self.points)

    @cached_property
    def watched(self) -> dict[str, np.ndarray]:
        """`measures`, and those of the variance parameters that were sampled at the predictors' means."""
        moved = [k for k, term in enumerate(self.problem.structure.terms) if term in self.priors.moved]
        if not moved:
            return self.measures
        sampled = convergence(self.draws.values[moved], self.points)
        return {name: np.append(found, sampled[name]) for name, found in self.measures.items()}

    def ranef(self, level: float, mixture: int = 500, most: int | None = None) -> Ranef:
        """Rao-Blackwellised summaries of every group's random effects, from at most `most` of the draws.

        `mcse` is the Monte Carlo error of the mean: from the effect's own series of conditional means where
        there are few, else from the spread of that series and the smallest ESS of the variance parameters.

        Parameters
        ----------
        level : float
            Of the intervals, between 0 and 1.
        mixture : int
            Number of draws that the quantiles use.
        most : int or None
            Number of draws looked at, at most; None: as many as `thin` allows.

        Returns
        -------
        Ranef
        """
        problem = self.problem
        chosen = thin(len(self.kept), problem.n_groups, WORK, most)
        at, half = self.kept[chosen], self.half[chosen]
        whole = len(at) == len(self.sigmas)
        keep = whole and problem.n_groups * problem.q <= SERIES
        beta, factors, sigmas = (x[at] for x in (self.beta, self.factors, self.sigmas))
        some, tail = min(mixture, len(at)), 0.5 - level / 2

        def groups(a, b):
            return summarise_groups(
                self.packed, problem.z_map, beta, half, factors, sigmas, some, tail, keep, a, b
            )

        blocks, lanes = len(problem.gram), problem.gram.shape[3]
        found = self._shared("random effects given the draws", blocks, lanes * len(at), groups)
        mean, variance, cond, spread, low, high, series = (part[: problem.n_groups] for part in found)
        if keep:
            ess = ess_mean(series.reshape(-1, *self.shape), self.points).reshape(mean.shape)
        else:
            ess = np.minimum(self.measures["ess_mean"][problem.p :].min(), len(at))
        return Ranef(mean, np.sqrt(variance), np.sqrt(cond), low, high, np.sqrt(spread / ess))

    def draw_ranef(self) -> np.ndarray:
        """Exact draws of the random effects, (chains, draws, J, q)."""
        problem = self.problem
        back = np.linalg.inv(problem.x_map)
        beta = (self.fixed.draws - problem.offset) @ back.T
        noise = self.rng.standard_normal((len(self.sigmas), problem.n_groups, problem.q))
        out = draw_groups(
            self.packed, problem.z_map, problem.n_groups, beta, self.factors, self.sigmas, noise
        )
        return out.reshape(*self.shape, problem.n_groups, problem.q)


def gates_of(chains: Any, setting: Setting) -> list[dict[str, Any]]:
    """The gates of the sampler that drew the chains.

    Parameters
    ----------
    chains : Chains or SeveralChains
        Draws, and what follows from them exactly.
    setting : Setting
        Its number of chains.

    Returns
    -------
    list of dict
        name, value, limit, passed of each gate.
    """
    found = chains.draws.importance
    if found is None:
        return gate_fit(chains.watched, chains.draws.stats, setting.chains)
    return gate_importance(chains.watched, found.k, setting.chains)


def sample_until_passed(
    attempt: Callable[[Setting], Any], setting: Setting, first: Setting | None = None
) -> tuple[Any, list[dict], bool]:
    """Sample by NUTS; where a gate fails, once more with longer warm-up and a higher target acceptance.

    Parameters
    ----------
    attempt : callable
        Samples with a setting; returns chains.
    setting : Setting
        Chains, draws, seed and the like.
    first : Setting or None
        Of the first attempt; None: `setting`. The second takes `setting.harder()`.

    Returns
    -------
    chains, gates, retried
        The draws, the gates of what NUTS sampled and of the fixed effects, and whether the
        first attempt failed.
    """
    for again in (False, True):
        chains = attempt(setting.harder() if again else first or setting)
        gates = gates_of(chains, setting)
        if again or all(gate["passed"] for gate in gates):
            return chains, gates, again
    raise AssertionError("unreachable")
