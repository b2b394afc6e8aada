"""Replicates in blocks through the full path, one data set after the other: what the compiled path cannot fit."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lmm.core.progress import Progress
from lmm.recovery.compact import STATUSES, VALUES, Fits, ends_of_blocks
from lmm.recovery.replicate import Engine, fit_all, one_line, records

KEPT = ("fixed", "ran_pars")


class Design:
    """A design's source with engines: `compact.Design` with the engines that a single study uses.

    Parameters
    ----------
    source : Simulated or SeveralBootstrap
        Of the replicates.
    engines : mapping
        Without draws.
    """

    def __init__(self, source: Any, engines: Mapping[str, Engine]):
        self.source, self.engines = source, engines

    def blocks(self, first: int, stop: int) -> Iterator[dict[str, Fits]]:
        """Replicates first ... stop - 1 in blocks that end where those of the compiled path do."""
        with Progress("replicates of a design", stop - first) as progress:
            for start, end in ends_of_blocks(first, stop):
                yield self._block(start, end, progress)

    def _block(self, first: int, stop: int, progress: Progress) -> dict[str, Fits]:
        """Fits of replicates first ... stop - 1 by every engine."""
        rows: dict[str, list] = {name: [] for name in self.engines}
        ends: dict[str, list] = {name: [] for name in self.engines}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what matters of them is in the fits' messages
            for replicate in range(first, stop):
                data = None
                try:
                    data = self.source.draw(replicate)
                    done = fit_all(self.engines, data, 0)
                except Exception as error:  # a data set that cannot be drawn is every engine's error
                    done = dict.fromkeys(self.engines, (None, "error", one_line(error), np.nan))
                for name, (outcome, *ending) in done.items():
                    found = records(self.engines[name], outcome, data, {})
                    rows[name].append([row for row in found if row[0] in KEPT])
                    ends[name].append(ending)
                progress.advance()
        return {name: _fits(first, rows[name], ends[name]) for name in self.engines}


def _fits(first: int, rows: list[list[tuple]], ends: list[tuple[str, str, float]]) -> Fits:
    """What `compact` makes of a block, from rows of the long table."""
    keys = [row[:4] for row in rows[0]]
    numbers = np.array([[row[4:] for row in own] for own in rows], dtype=float)
    known = np.isfinite(numbers[:, :, 0])  # of a data set that cannot be drawn no truth is known
    truth = np.where(known.any(axis=0), numbers[known.argmax(axis=0), np.arange(len(keys)), 0], np.nan)
    values = {name: numbers[:, :, k] for k, name in enumerate(VALUES, start=1)}
    status = np.array([STATUSES.index(status) for status, _, _ in ends])
    seconds = np.array([seconds for *_, seconds in ends])
    messages = {at: text for at, (_, text, _) in enumerate(ends) if text}
    return Fits(first, keys, truth, values, status, seconds, messages)
