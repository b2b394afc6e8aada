"""How a posterior of variance parameters is sampled: importance sampling with NUTS as its fallback, or NUTS."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from lmm.engines.pymc.attempts import Draws, Importance, Setting
from lmm.engines.pymc.chains import gates_of, sample_until_passed
from lmm.engines.pymc.gates import status_of
from lmm.engines.pymc.importance import Sample
from lmm.engines.pymc.unconstrained import Space

FEWEST = 700  # points, whatever they cost: with three quarters of them effective, the gates of 4 chains pass


class Posterior(Protocol):
    """A posterior with its samplers; both return `Chains`, or `SeveralChains`."""

    def by_importance(self, setting: Setting) -> Any:
        """Draws that are resampled from weighted points."""
        ...

    def by_nuts(self, setting: Setting) -> Any:
        """Draws of one attempt."""
        ...


class Compiled:
    """nutpie's sampler of a model, compiled where it is first needed.

    A model that could not be compiled is not tried again: its error is every further data set's.
    """

    def __init__(self) -> None:
        self.sampler: Any = None
        self.failure: Exception | None = None
        self.seconds = 0.0

    def of(self, make: Callable[[], Any]) -> Callable[[], Any]:
        """Returns the sampler; `make` compiles it the first time."""

        def get() -> Any:
            if self.failure is not None:
                raise self.failure.with_traceback(None)  # else it would keep every data set alive
            if self.sampler is None:
                clock = time.perf_counter()
                try:
                    self.sampler = make()
                except Exception as error:
                    self.failure = error
                    raise
                self.seconds = time.perf_counter() - clock
            return self.sampler

        return get


class Sampled(NamedTuple):
    """Draws and how they were made.

    Attributes
    ----------
    chains : Chains or SeveralChains
    gates : list of dict
    sampler : str
        importance or nuts.
    retried : bool
        Whether NUTS needed a second attempt.
    warnings : list of str
        What did not pass at first.
    replaced : bool
        Whether NUTS took the place of importance sampling.
    """

    chains: Any
    gates: list[dict[str, Any]]
    sampler: str
    retried: bool
    warnings: list[str]
    replaced: bool

    @property
    def about(self) -> dict[str, Any]:
        """What diagnostics say of the sampler."""
        draws = self.chains.draws
        out: dict[str, Any] = {"sampler": self.sampler, "replaced": self.replaced, "retried": self.retried}
        if draws.importance is not None:
            return out | {
                "points": draws.importance.points,
                "distinct_points": int(np.count_nonzero(np.bincount(draws.importance.at))),
                "pareto_k": draws.importance.k,
            }
        return out | {"gradient_evaluations": int(draws.stats["n_steps"].sum())}


def sampled(posterior: Posterior, setting: Setting, sampler: str, first: Setting | None = None) -> Sampled:
    """Sample; where importance sampling fails a gate, by NUTS instead.

    Parameters
    ----------
    posterior : Posterior
        What is sampled.
    setting : Setting
        Chains, draws, seed and the like.
    sampler : str
        importance or nuts.
    first : Setting or None
        Of NUTS's first attempt; None: `setting`.

    Returns
    -------
    Sampled
    """
    warnings: list[str] = []
    if sampler == "importance":
        chains = posterior.by_importance(setting)
        gates = gates_of(chains, setting)
        status, failed = status_of(gates, ())
        if status == "ok":
            return Sampled(chains, gates, sampler, False, warnings, replaced=False)
        warnings.append(f"importance sampling failed a gate and NUTS took its place: {failed}")
        print(f"pymc: {warnings[0]}", file=sys.stderr)
    chains, gates, retried = sample_until_passed(posterior.by_nuts, setting, first)
    if retried:
        warnings.append("the first attempt failed a gate; refitted with longer warm-up")
    return Sampled(chains, gates, "nuts", retried, warnings, replaced=sampler == "importance")


def points_of(setting: Setting, most: int) -> int:
    """Number of weighted points: chains x draws, at most `most` but not fewer than FEWEST for that.

    Parameters
    ----------
    setting : Setting
        Its chains and draws.
    most : int
        What time and memory allow.

    Returns
    -------
    int
    """
    asked = setting.chains * setting.draws
    return min(asked, max(most, FEWEST))


def proposal_rng(setting: Setting) -> np.random.Generator:
    """Random numbers of importance sampling."""
    return np.random.default_rng(np.random.SeedSequence(setting.seed, spawn_key=(3,)))


def exact_rng(setting: Setting) -> np.random.Generator:
    """Random numbers of the exact draws of fixed and random effects."""
    return np.random.default_rng(np.random.SeedSequence(setting.seed, spawn_key=(1,)))


def drawn_at(found: Sample, space: Space, rng: np.random.Generator) -> Draws:
    """Draws of equal weight from weighted points, as one chain.

    Parameters
    ----------
    found : Sample
        Weighted points.
    space : Space
        Their coordinates.
    rng : Generator
        For the resampling.

    Returns
    -------
    Draws
    """
    at = found.resampled(rng)
    stats = {"logp": found.log_density[at][None], "weight": found.weights[at][None]}
    given = tuple(part[at] for part in found.given)
    about = Importance(at, found.k, len(found.weights))
    return Draws(space.values(found.points[at])[:, None, :], stats, given, about)
