"""How to sample, and what was drawn: what both samplers share, without PyMC, whose import takes two seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

RETRY_TUNE, RETRY_ACCEPT = 2, 0.95
QUICK_TUNE = 100  # with half of it a chain in twenty has a poor metric
STATS = ("diverging", "maxdepth_reached", "energy", "n_steps", "step_size", "logp")  # of NUTS


@dataclass(frozen=True)
class Setting:
    """How to sample: the configuration's numbers."""

    seed: int
    chains: int
    tune: int
    draws: int
    target_accept: float
    cores: int = 1
    white: bool = False  # in the coordinates of `whitened`

    @classmethod
    def of(cls, settings: Mapping[str, Any], cores: int = 1) -> "Setting":
        """From the engine's configuration."""
        names = ("seed", "chains", "tune", "draws", "target_accept")
        return cls(**{name: settings[name] for name in names}, cores=cores)

    def quick(self) -> "Setting":
        """For a first attempt at one data set of many: a short warm-up, in coordinates that need no longer one."""
        return replace(self, tune=min(self.tune, QUICK_TUNE), white=True)

    def harder(self) -> "Setting":
        """For a second attempt: longer warm-up, a higher target acceptance, another seed."""
        accept = max(self.target_accept, RETRY_ACCEPT)
        return replace(self, seed=self.seed + 1, tune=self.tune * RETRY_TUNE, target_accept=accept)


class Importance(NamedTuple):
    """Where resampled draws come from.

    Attributes
    ----------
    at : (S,) int array
        The weighted point of each draw: a point may be there several times.
    k : float
        Pareto k of the weights.
    points : int
        Number of weighted points.
    """

    at: np.ndarray
    k: float
    points: int


@dataclass(frozen=True)
class Draws:
    """Draws of the variance parameters and the sampler's own statistics.

    Attributes
    ----------
    values : (k, chains, draws) array
        In the order of `Structure.terms`, in the priors' coordinates (`Priors.names`).
    stats : dict of (chains, draws) arrays
        diverging, maxdepth_reached, energy, n_steps, step_size and logp; of importance sampling logp and weight.
    given : tuple of arrays of chains x draws, optional
        What follows from each draw, where it was found with it (`posterior.given_draws`, or of several factors
        `several_draws.given_at`).
    importance : Importance, optional
        Where the draws are resampled from weighted points.
    """

    values: np.ndarray
    stats: dict[str, np.ndarray]
    given: tuple[np.ndarray, ...] | None = None
    importance: Importance | None = None
