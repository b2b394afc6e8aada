"""Snakemake's console as one line per finished job; Snakemake's own log file keeps everything.

`make` asks for it (`--logger lmm`); `make ARGS=--verbose` brings Snakemake's own lines back.
"""

import logging
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from running.console import Console


class LogHandler(LogHandlerBase):
    """Snakemake's records to the run's console."""

    # it takes the place of Snakemake's lines, chooses for itself what is shown, and words only what has an event
    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = (
        True,
        False,
        True,
        False,
        False,
    )

    def __post_init__(self) -> None:
        self.console = Console(self.common_settings.show_failed_logs)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the lines of a record of Snakemake, with its `event`, or of the workflow, with `closing`."""
        try:
            if lines := self._lines(record):
                sys.stderr.write("\n".join(lines) + "\n")
                sys.stderr.flush()
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def _lines(self, record: logging.LogRecord) -> list[str]:
        event, own = getattr(record, "event", None), record.__dict__
        if event == LogEvent.RUN_INFO:
            self.console.plans(own.get("stats", {}))
        elif event == LogEvent.JOB_INFO:
            self.console.starts(own["jobid"], own["rule_name"], own["rule_msg"] or "")
        elif event == LogEvent.JOB_FINISHED:
            return self.console.ends(own["job_id"])
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            jobs = own.get("job_error_info") or [own]
            return [line for job in jobs for line in self.console.fails(job["jobid"], job["log"])]
        elif event == LogEvent.ERROR or record.levelno >= logging.WARNING or own.get("closing"):
            return self.console.warns(self.format(record))
        elif event is None:
            return self.console.says(record.getMessage())
        return []
