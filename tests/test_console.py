"""What `make` says on the console: a line for each job, a failed job's message once, no dumps."""

import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from lmm.core.store import write_json
from running import console
from running.verdicts import answer, closing
from snakemake_logger_plugin_lmm import LogHandler


@pytest.fixture
def said(capsys):
    """Sends records to a handler; returns what they put on the console."""
    handler = LogHandler(SimpleNamespace(show_failed_logs=True), None)

    def send(event=None, text="", level=logging.INFO, **own):
        record = logging.LogRecord("snakemake", level, "", 0, text, None, None)
        record.__dict__.update(own | ({"event": event} if event else {}))
        handler.emit(record)
        return capsys.readouterr().err.splitlines()

    return send


def start(said, job, rule="engine_reml", message="coffee: REML"):
    assert said(LogEvent.JOB_INFO, jobid=job, rule_name=rule, rule_msg=message) == []


def test_a_job_is_one_line_with_its_seconds(said, monkeypatch):
    clock = iter([0.0, 10.0, 12.34])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    start(said, 3)
    assert said(LogEvent.JOB_FINISHED, job_id=3) == ["coffee: REML: 2.3 s"]
    assert said(LogEvent.PROGRESS, done=1, total=3) == []
    assert said(LogEvent.SHELLCMD) == said(text="Building DAG of jobs...") == []


def test_a_target_is_no_line(said):
    start(said, 1, "all", None)
    assert said(LogEvent.JOB_FINISHED, job_id=1) == []


def test_of_many_jobs_every_tenth_is_told_with_what_is_left(said, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    said(LogEvent.RUN_INFO, stats={"replicates": 40, "total": 40})
    lines = []
    for job in range(40):
        start(said, job, "replicates", f"design: replicates {job}")
        now[0] += 5
        lines += said(LogEvent.JOB_FINISHED, job_id=job)
    assert len(lines) == 10
    # 4 of 40 jobs in 20 s: 36 are left, 5 s each
    assert lines[0] == "replicates: 4 of 40 jobs after 20 s, 3 min left"
    assert lines[-1] == "replicates: 40 of 40 jobs after 3 min"


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("coffee: means, slopes and contrasts", "means, slopes and contrasts"),
        ("a: replicates 1 to 50", "replicates"),
        ("a: moments, part 7", "moments"),
        ("a: Monte Carlo errors after batch 2", "Monte Carlo errors"),
    ],
)
def test_many_jobs_are_called_by_what_they_do(what, name):
    """Not by the name of their rule, which is of the workflow."""
    assert console.plain(what) == name


def test_a_failed_job_shows_its_message_once_and_its_log(said, tmp_path):
    log = tmp_path / "reml.log"
    log.write_text("data.csv: column x: 'abc' is no number\n")
    start(said, 5)
    expected = ["FAILED: coffee: REML", "  data.csv: column x: 'abc' is no number", f"  Log: {log}"]
    error = {"jobid": 5, "rule_name": "engine_reml", "log": [str(log)], "level": logging.ERROR}
    assert said(LogEvent.JOB_ERROR, **error) == expected
    assert said(LogEvent.JOB_ERROR, **error) == []
    assert said(text="Complete log(s): a.log") == ["Complete log(s): a.log"]


def test_of_a_run_that_went_well_the_log_is_not_told(said):
    assert said(text="Complete log(s): a.log") == []
    assert said(text="Nothing to be done (all requested files are present and up to date).") != []
    assert said(text="Report: results/report.html", closing=True) == ["Report: results/report.html"]


def test_warnings_and_errors_are_shown_once(said):
    assert said(text="odd", level=logging.WARNING) == ["odd"]
    assert said(text="odd", level=logging.WARNING) == []


@pytest.mark.parametrize("words", console.AGAIN)
def test_that_a_job_failed_is_not_told_again(said, words):
    assert said(LogEvent.ERROR, f"Some error: {words} 1.", logging.ERROR) == []


def test_a_run_ends_with_the_answer_in_plain_text(tmp_path):
    said = ["Effect of <b>Days</b>: 10.5&nbsp;ms (7.4 to 13.5)", "Engines agree."]
    write_json(tmp_path / "summary.json", {"studies": {"sleep": {"answer": said}}})
    assert answer(tmp_path / "summary.json") == ["Effect of Days: 10.5 ms (7.4 to 13.5)", "Engines agree."]


def test_the_last_line_is_the_page_or_its_print(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "results" / name).mkdir(parents=True)
    assert closing(["a", "b"], {}) == []
    (tmp_path / "results/b/report.html").write_text("")
    assert closing(["a", "b"], {}) == ["Report: results/b/report.html"]
    (tmp_path / "results/report.html").write_text("")
    assert closing(["a", "b"], {}) == ["Report: results/report.html"]
    (tmp_path / "results/b/tables").mkdir()
    assert closing(["a", "b"], {}) == ["Report: results/report.html", "Tables: results/b/tables"]
    (tmp_path / "results/a/tables").mkdir()
    assert closing(["a", "b"], {})[-1] == "Tables: results/*/tables"
    (tmp_path / "results/report.pdf").write_text("")
    assert closing(["a", "b"], {})[-1] == "PDF: results/report.pdf"
