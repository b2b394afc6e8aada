"""How far a long step is: a bar on a terminal, lines in a log. Silent while a step is short."""

import sys
import time
from typing import TextIO


class Progress:
    """Progress of one step, written to stderr.

    Parameters
    ----------
    label : str
        What the step does, as the line's beginning.
    total : float
        Units of work; `advance` and `at` count them.
    stream : text stream, optional
        Default stderr. A bar is redrawn in place on a terminal, a line is added elsewhere.
    after : float, optional
        Seconds before anything is shown: steps of a few seconds stay silent.
    """

    def __init__(self, label: str, total: float, stream: TextIO | None = None, after: float = 5.0):
        self.label, self.total, self.after = label, max(total, 1e-12), after
        self.stream = stream if stream is not None else sys.stderr
        self.terminal = self.stream.isatty()
        self.done, self.started, self.shown = 0.0, time.monotonic(), None

    def advance(self, units: float = 1.0) -> None:
        """`units` more are done."""
        self.at(self.done + units)

    def at(self, done: float) -> None:
        """`done` units are done in all."""
        self.done = done
        now = time.monotonic()
        every = 0.2 if self.terminal else 5.0
        if now - self.started >= self.after and (self.shown is None or now - self.shown >= every):
            self.shown = now
            self._show(now)

    def _show(self, now: float) -> None:
        share, seconds = min(self.done / self.total, 1.0), now - self.started
        left = f", {seconds * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
        if self.terminal:
            bar = ("#" * round(30 * share)).ljust(30)
            self.stream.write(f"\r{self.label} [{bar}] {share:4.0%} {seconds:.0f} s{left}\x1b[K")
        else:
            self.stream.write(f"{self.label}: {share:.0%} after {seconds:.0f} s{left}\n")
        self.stream.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind, *_) -> None:
        if self.shown is not None and kind is None:
            self.done = self.total
            self._show(time.monotonic())
        if self.shown is not None and self.terminal:
            self.stream.write("\n")
            self.stream.flush()
