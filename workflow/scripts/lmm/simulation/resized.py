"""Replicates of a user's own design with another number of groups: a pilot study made larger, or smaller.

Of n groups, every group of the pilot data is there n // J times, and n % J of them once more, drawn anew for each
replicate: with n = J it is the design itself, with a multiple of J what simr's `extend` makes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lmm.core.streams import repeated
from lmm.moments.moments import Moments
from lmm.simulation.batch import Drawn, OwnReplicates
from lmm.simulation.moments import prepare


class Levels:
    """Which of the data's J levels are those of a replicate with n of them.

    Parameters
    ----------
    known, wanted : int
        J and n.
    seed : int
    key : str
        The design's.
    """

    def __init__(self, known: int, wanted: int, seed: int, key: str):
        self._known, (copies, self.more) = known, divmod(wanted, known)
        self._all = np.tile(np.arange(known), copies)
        self._chosen = repeated(seed, key, "groups")

    def at(self, replicate: int) -> np.ndarray:
        """Places of the levels among the data's, (n,)."""
        if not self.more:
            return self._all
        chosen = self._chosen.at(replicate).permutation(self._known)[: self.more]
        return np.concatenate([self._all, np.sort(chosen)])


class Resized(OwnReplicates):
    """Replicates with `n_groups` groups; see `OwnReplicates`.

    Parameters
    ----------
    moments : Moments
        Of the pilot data, each group's whole Gram matrix in them.
    n_groups : int
    fixed, beta, random, root, sigma : as for `OwnReplicates`
    seed : int
    key : str
        The design's.
    """

    def __init__(
        self, moments: Moments, n_groups: int, fixed: Sequence[str], beta, random: Sequence[str], root, sigma,
        seed: int, key: str,
    ):  # fmt: skip
        self._pilot, self._levels = moments, Levels(moments.n_groups, n_groups, seed, key)
        super().__init__(prepare(self.moments(0)), fixed, beta, random, root, sigma, seed, key)

    def moments(self, replicate: int) -> Moments:
        """Moments of a replicate's groups; their response is the pilot's."""
        pilot, at = self._pilot, self._levels.at(replicate)
        gram = pilot.gram[at]
        levels = np.arange(1, len(at) + 1).astype(str).astype(object)
        return replace(
            pilot, levels=levels, n=pilot.n[at], gram=gram, total=gram.sum(axis=0), factor=None, rest=None
        )

    def draw(self, replicate: int) -> Drawn:
        """One replicate; from 0."""
        if self._levels.more:
            self.made = prepare(self.moments(replicate))
            m1 = self.made.half.shape[2]
            self.n_rows = self.made.moments.n_rows
            self._gram[:, :, :-1] = self.made.b
            self._total[:m1, :m1] = self.made.moments.total[:m1, :m1]
        return super().draw(replicate)
