"""What a run says on the console: a line for each job, a failed job's message and log once."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

# Of the lines that Snakemake writes without an event, those that a user has to read.
NOTHING = "Nothing to be done"
KEPT = (NOTHING, "Unlocking", "Error: ", "Trying to restart", "Terminating")
# Snakemake's words for a failed job, which its own lines have told.
AGAIN = (
    "At least one job did not complete successfully",
    "Exiting because a job execution failed",
    "returned non-zero exit status",
)
REPORT = Path("results/report.html")
LAST = 40  # lines of a failed job's log
MANY = 12  # jobs of one rule: from here on a line per tenth of them, with an estimate of what is left


def plain(what: str) -> str:
    """What all jobs of a rule do: without the study and the number of the part."""
    return re.split(r",? (?:part |after batch )?\d", what.partition(": ")[2])[0]


class Console:
    """The lines for what happens in a run, which has to be told of all of it.

    Parameters
    ----------
    shows_logs : bool
        Whether a failed job's log is shown.
    """

    def __init__(self, shows_logs: bool):
        self.shows_logs = shows_logs
        self.jobs: dict[int, tuple[str, str, float]] = {}  # rule, what it does, its start
        self.planned: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.began: dict[str, float] = {}
        self.said: set[str] = set()
        self.failed = False

    def plans(self, stats: Mapping[str, object]) -> None:
        """Numbers of jobs, a rule each, with their total."""
        self.planned = {rule: n for rule, n in stats.items() if rule != "total" and isinstance(n, int)}

    def starts(self, job: int, rule: str, what: str) -> None:
        """A job, and what it does in the words of its rule; empty for a target."""
        self.began.setdefault(rule, time.monotonic())
        self.jobs[job] = (rule, what, time.monotonic())

    def ends(self, job: int) -> list[str]:
        """What was done and in how many seconds; of many jobs of one rule every tenth, with what is left."""
        rule, what, start = self.jobs.pop(job, ("", "", 0.0))
        if not what:  # a target, which does nothing
            return []
        self.done[rule] += 1
        done, planned = self.done[rule], self.planned.get(rule, 0)
        now = time.monotonic()
        if planned < MANY:
            return [f"{what}: {now - start:.1f} s"]
        if done * 10 // planned == (done - 1) * 10 // planned:
            return []
        passed = now - self.began[rule]
        left = f", {duration(passed * (planned - done) / done)} left" if done < planned else ""
        return [f"{plain(what) or rule}: {done:,} of {planned:,} jobs after {duration(passed)}{left}"]

    def fails(self, job: int, logs: list[str]) -> list[str]:
        """Which job failed, the end of its logs, and where they are; once."""
        self.failed = True
        rule, what, _ = self.jobs.pop(job, ("", "", 0.0))
        if not rule:
            return []
        lines = [f"FAILED: {what or rule}"]
        for path in logs:
            file = Path(path)
            if self.shows_logs and file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace").splitlines()
                lines += [f"  {line}" for line in text[-LAST:]]
            lines.append(f"  Log: {path}")
        return lines

    def warns(self, text: str) -> list[str]:
        """A warning or an error, unless it says again that a job failed."""
        return [] if not text or any(words in text for words in AGAIN) else self._once(text)

    def says(self, text: str) -> list[str]:
        """A line of Snakemake's own, where a user has to read it."""
        if text.startswith(NOTHING):
            return [text, *([f"Report: {REPORT}"] if REPORT.exists() else [])]
        return (
            self._once(text)
            if text.startswith(KEPT) or (self.failed and text.startswith("Complete log"))
            else []
        )

    def _once(self, text: str) -> list[str]:
        """A message, unless it has been shown."""
        if text in self.said:
            return []
        self.said.add(text)
        return [text]


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
