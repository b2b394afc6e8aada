"""How far a long step is: a bar on a terminal, lines in a log. Silent while a step is short."""

import sys
import threading
import time
from typing import TextIO

# Where bars are drawn beside the log, and what each begins with: the terminal that a job was started from.
TERMINALS: list[tuple[TextIO, str]] = []


class Progress:
    """Progress of one step, written to stderr and to `TERMINALS`; threads may share it.

    Parameters
    ----------
    label : str
        What the step does, as the line's beginning.
    total : float or None
        Units of work; `advance` and `at` count them. None if unknown: their number is then shown.
    stream : text stream, optional
        Instead of stderr and the terminals. A bar is redrawn in place on a terminal, a line is added elsewhere.
    after : float, optional
        Seconds before anything is shown: steps of a few seconds stay silent.
    """

    def __init__(self, label: str, total: float | None, stream: TextIO | None = None, after: float = 5.0):
        self.total, self.after = None if total is None else max(total, 1e-12), after
        places = [(sys.stderr, ""), *TERMINALS] if stream is None else [(stream, "")]
        self.views = [_View(place, begins + label) for place, begins in places]
        self.done, self.started, self.lock = 0.0, time.monotonic(), threading.Lock()

    def advance(self, units: float = 1.0) -> None:
        """`units` more are done."""
        with self.lock:
            self._reached(self.done + units)

    def at(self, done: float) -> None:
        """`done` units are done in all."""
        with self.lock:
            self._reached(done)

    def _reached(self, done: float) -> None:
        self.done = done
        now = time.monotonic()
        for view in self.views if now - self.started >= self.after else ():
            if view.due(now):
                self._show(view, now)

    def _show(self, view: "_View", now: float) -> None:
        share = None if self.total is None else min(self.done / self.total, 1.0)
        view.show(share, self.done, now - self.started, now)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind, *_) -> None:
        with self.lock:
            for view in self.views:
                if view.shown is not None and kind is None:
                    self.done = self.done if self.total is None else self.total
                    self._show(view, time.monotonic())
                view.end()
            self.views = []  # nutpie's thread may call once more


class _View:
    """One place where progress is shown."""

    def __init__(self, stream: TextIO, label: str):
        self.stream, self.label = stream, label
        self.terminal = stream.isatty()
        self.shown: float | None = None

    def due(self, now: float) -> bool:
        """Whether it is long enough since it was shown last."""
        return self.shown is None or now - self.shown >= (0.2 if self.terminal else 5.0)

    def show(self, share: float | None, done: float, seconds: float, now: float) -> None:
        """`share` of the work, or `done` units where that is not known, after some seconds."""
        self.shown = now
        if share is None:
            said = f"{self.label}: {done:.0f} after {seconds:.0f} s"
        else:
            left = f", {seconds * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
            bar = ("#" * round(30 * share)).ljust(30)
            said = (
                f"{self.label} [{bar}] {share:4.0%} {seconds:.0f} s{left}"
                if self.terminal
                else f"{self.label}: {share:.0%} after {seconds:.0f} s{left}"
            )
        self._write(f"\r{said}\x1b[K" if self.terminal else f"{said}\n")

    def end(self) -> None:
        """A bar's line ends."""
        if self.shown is not None and self.terminal:
            self._write("\n")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:  # a terminal that was closed, a full disk: nothing that a fit should end for
            pass
