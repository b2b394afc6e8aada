"""Snakemake's console as one line per finished job; Snakemake's own log file keeps everything.

`make` asks for it (`--logger lmm`); `make ARGS=--verbose` brings Snakemake's own lines back.
"""

import logging
import sys
import time
from collections import Counter
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

# Of the lines that Snakemake writes without an event, those that a user has to read.
KEPT = ("Nothing to be done", "Unlocking", "Error: ", "Trying to restart", "Terminating")
# Snakemake's words for a failed job, which its own lines have told.
AGAIN = (
    "At least one job did not complete successfully",
    "Exiting because a job execution failed",
    "returned non-zero exit status",
)
REPORT = Path("results/report.html")
LAST = 40  # lines of a failed job's log
MANY = 12  # jobs of one rule: from here on a line per tenth of them, with an estimate of what is left


class LogHandler(LogHandlerBase):
    """What a run says on the console."""

    def __post_init__(self) -> None:
        self.jobs: dict[int, tuple[str, str, float]] = {}  # rule, what it does, its start
        self.planned: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.began: dict[str, float] = {}
        self.said: set[str] = set()
        self.failed = False

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's lines on the console."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's log file is Snakemake's."""
        return False

    @property
    def has_filter(self) -> bool:
        """What is shown is decided here."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Messages without an event are shown as Snakemake words them."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the lines of a record, if it has any.

        Parameters
        ----------
        record : logging.LogRecord
            Of Snakemake, with its `event`, or of the workflow, with `closing`.
        """
        try:
            lines = self._lines(record)
            if lines:
                sys.stderr.write("\n".join(lines) + "\n")
                sys.stderr.flush()
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def _lines(self, record: logging.LogRecord) -> list[str]:
        event, own = getattr(record, "event", None), record.__dict__
        if event == LogEvent.RUN_INFO:
            self.planned = {
                rule: n for rule, n in own.get("stats", {}).items() if rule != "total" and isinstance(n, int)
            }
        elif event == LogEvent.JOB_INFO:
            self.began.setdefault(own["rule_name"], time.monotonic())
            self.jobs[own["jobid"]] = (own["rule_name"], own["rule_msg"] or "", time.monotonic())
        elif event == LogEvent.JOB_FINISHED:
            return self._finished(own["job_id"])
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            return self._failed(own)
        elif event == LogEvent.ERROR or record.levelno >= logging.WARNING or own.get("closing"):
            text = self.format(record)
            return [] if not text or any(words in text for words in AGAIN) else self._once(text)
        elif event is None:
            text = record.getMessage()
            if text.startswith(KEPT[0]):
                return [text, *([f"Report: {REPORT}"] if REPORT.exists() else [])]
            if text.startswith(KEPT) or (self.failed and text.startswith("Complete log")):
                return self._once(text)
        return []

    def _once(self, text: str) -> list[str]:
        """A message, unless it has been shown."""
        if text in self.said:
            return []
        self.said.add(text)
        return [text]

    def _finished(self, job: int) -> list[str]:
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
        return [f"{rule}: {done:,} of {planned:,} jobs after {duration(passed)}{left}"]

    def _failed(self, own: dict) -> list[str]:
        """Which job failed, the end of its log, and where the log is; a job of a group is reported once."""
        self.failed = True
        lines = []
        for info in own.get("job_error_info") or [own]:
            rule, what, _ = self.jobs.pop(info["jobid"], ("", "", 0.0))
            if not rule:
                continue
            lines.append(f"FAILED: {what or rule}")
            for path in info["log"]:
                file = Path(path)
                if self.common_settings.show_failed_logs and file.is_file():
                    text = file.read_text(encoding="utf-8", errors="replace").splitlines()
                    lines += [f"  {line}" for line in text[-LAST:]]
                lines.append(f"  Log: {path}")
        return lines


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Parameters
    ----------
    seconds : float
        A length of time.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
