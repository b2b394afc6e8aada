"""The second profile on schedulers that are not installed: scripts in their place that behave as their manuals say.

What is tested is ours: that the commands of profiles/cluster-generic reach a scheduler with sane arguments, and that
status.sh understands its answers. Answers are those of OpenPBS 23 (qstat -x -f), Torque 6 (qstat -f), Grid Engine 8.1
(qstat -j, qacct -j) and LSF 10.1 (bjobs -noheader -o stat).
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from cluster.runs import ALL_TABLES, Run, copy, differences
from conftest import ROOT

PROFILE = ROOT / "profiles/cluster-generic"
TITLES = {"pbs": "PBS", "sge": "Grid Engine", "lsf": "LSF"}
# A job's script is the last argument. The first job ever is killed at once, as if it had taken too much memory.
SUBMIT = """\
printf '%s\\n' "$0 $*" >> "$PRETEND/calls"
job=$(($(cat "$PRETEND/last" 2>/dev/null || echo 0) + 1)); echo $job > "$PRETEND/last"
for script; do :; done
if [ $job = 1 ]; then echo 137 > "$PRETEND/$job.ended"
else
  (sh "$script" >/dev/null 2>&1 & echo $! > "$PRETEND/$job.pid"; wait $!
   echo $? > "$PRETEND/$job.new"; mv "$PRETEND/$job.new" "$PRETEND/$job.ended") >/dev/null 2>&1 &
fi
"""
FAKES = {
    "pbs": {
        "qsub": SUBMIT + "echo $job.server\n",
        "qstat": """\
[ "$1 $2" = '-x -f' ] || exit 2
job=${3%.server}
if [ -f "$PRETEND/$job.ended" ]; then
  printf 'Job Id: %s\\n    job_state = F\\n    Exit_status = %s\\n' $3 $(cat "$PRETEND/$job.ended")
else printf 'Job Id: %s\\n    job_state = R\\n' $3; fi
""",
    },
    "sge": {
        "qsub": SUBMIT + "echo $job\n",
        "qstat": '[ "$1" = -j ] && [ ! -f "$PRETEND/$2.ended" ]\n',
        "qacct": """\
[ "$1" = -j ] && [ -f "$PRETEND/$2.ended" ] || { echo "error: job id $2 not found" >&2; exit 1; }
printf 'qname        all.q\\nfailed       0    \\nexit_status  %s                  \\n' $(cat "$PRETEND/$2.ended")
""",
    },
    "lsf": {
        "bsub": SUBMIT + 'echo "Job <$job> is submitted to queue <normal>."\n',
        "bjobs": """\
[ "$1 $2 $3" = '-noheader -o stat' ] || exit 2
if [ -f "$PRETEND/$4.ended" ]; then [ $(cat "$PRETEND/$4.ended") = 0 ] && echo DONE || echo EXIT; else echo RUN; fi
""",
    },
}  # fmt: skip
CANCEL = """\
printf '%s\\n' "$0 $*" >> "$PRETEND/calls"
for job; do kill $(cat "$PRETEND/${job%.server}.pid"); done
"""
# What a submission of reml asks for at its first attempt and at its second: 1 core, 1000 MB, 30 minutes, times two.
ASKED = {
    "pbs": [r"select=1:ncpus=1:mem=1000mb .*walltime=30:00 ", r"select=1:ncpus=1:mem=2000mb .*walltime=60:00 "],
    "sge": [r"-pe smp 1 -l h_vmem=1000M -l h_rt=1800 ", r"-pe smp 1 -l h_vmem=2000M -l h_rt=3600 "],
    "lsf": [r"-n 1 .*rusage\[mem=1000MB\] -M 1000MB -W 30 ", r"-n 1 .*rusage\[mem=2000MB\] -M 2000MB -W 60 "],
}  # fmt: skip


def chosen(scheduler: str) -> str:
    """The profile as somebody has it who uses that scheduler: its lines taken out of their comment, others put in."""
    lines, wanted, found = [], "", []
    for line in (PROFILE / "config.yaml").read_text().splitlines():
        if title := re.match(r"# (PBS|Grid Engine|LSF)\b.*:$", line):
            wanted = title.group(1)
        elif line.startswith("default-resources"):
            wanted = ""
        if not wanted:
            lines.append(line)
        elif wanted == TITLES[scheduler] and re.match(r"(# )?(cluster-generic-| )", line):
            found.append(line.removeprefix("# "))
    return "\n".join([*lines, *found, ""])


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Puts scripts in the place of a scheduler's commands; gives the folder in which they keep their books."""

    def put(commands: dict[str, str]) -> Path:
        for name, body in commands.items():
            (tmp_path / name).write_text("#!/bin/sh\n" + body)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setenv("PRETEND", str(tmp_path))
        return tmp_path

    return put


@pytest.fixture
def project(undisturbed, tmp_path):
    """A project whose reml and mixedlm are still to be run."""
    return copy(undisturbed, tmp_path / "project", without=("reml", "mixedlm", "comparison"))


@pytest.mark.parametrize(
    "scheduler",
    ["lsf", pytest.param("pbs", marks=pytest.mark.faults), pytest.param("sge", marks=pytest.mark.faults)],
)
def test_jobs_are_submitted_asked_for_and_come_again_with_more(scheduler, pretend, project, undisturbed):
    books = pretend(FAKES[scheduler])
    (project.root / "profiles/cluster-generic/config.yaml").write_text(chosen(scheduler))
    options = ("--profile", "profiles/cluster-generic", "--seconds-between-status-checks", "1")
    run = Run(project, *options, "--latency-wait", "5", "--", ALL_TABLES).expect(0)
    calls = (books / "calls").read_text().splitlines()
    # reml twice, then mixedlm; the comparison takes a second and is no job
    assert len(calls) == 3, run.said
    for call, asked in zip(calls, [*ASKED[scheduler], ""], strict=False):
        assert re.search(asked, call), call
        assert call.endswith(".sh") and Path(call.split()[-1]).is_absolute()
        assert " lmm-recovery " in call
    assert not differences(project, undisturbed)


def test_stopped_by_hand_it_cancels_its_jobs(pretend, project):
    books = pretend(FAKES["pbs"] | {"qdel": CANCEL})
    (books / "last").write_text("1")
    run = Run(project, "--profile", "profiles/cluster-generic", "--", ALL_TABLES)
    fit = run.fit("reml")
    os.kill(fit, signal.SIGSTOP)
    run.signal(signal.SIGINT)
    run.wait()
    os.kill(fit, signal.SIGKILL)  # the command that stands for qdel ends nothing
    assert f"{books}/qdel 2.server" in (books / "calls").read_text().splitlines()


def status(scheduler: str, job: str = "17") -> subprocess.CompletedProcess:
    return subprocess.run([PROFILE / "status.sh", scheduler, job], capture_output=True, text=True)


@pytest.mark.parametrize(
    "scheduler, command, answer, said",
    [
        ("pbs", "qstat", "    job_state = Q", "running"),
        ("pbs", "qstat", "    job_state = F\n    Exit_status = 0", "success"),
        ("pbs", "qstat", "    job_state = F\n    Exit_status = 271", "failed"),
        ("pbs", "qstat", "    job_state = F", "failed"),  # deleted before it ran
        ("pbs", "qstat", "qstat: cannot connect to server pbs (errno=15010)", "running"),
        ("lsf", "bjobs", "PEND", "running"),
        ("lsf", "bjobs", "EXIT", "failed"),
        ("lsf", "bjobs", "LSF is down. Please wait ...", "running"),
        ("slurm", "scontrol", "   JobState=OUT_OF_MEMORY Reason=OutOfMemory", "failed"),
        ("slurm", "scontrol", "   JobState=COMPLETED Reason=None", "success"),
        ("slurm", "scontrol", "slurm_load_jobs error: Unable to contact slurm controller", "running"),
    ],
)
def test_every_answer_of_a_scheduler_is_understood(pretend, scheduler, command, answer, said):
    pretend({command: f"cat <<'E'\n{answer}\nE\n"})
    assert status(scheduler).stdout == f"{said}\n"


def test_torques_qstat_has_another_option_x(pretend):
    pretend(
        {
            "qstat": "if [ $1 = -x ]; then echo '<Data><Job><job_state>C</job_state></Job></Data>'\n"
            "else printf '    job_state = C\\n    exit_status = 0\\n'; fi\n"
        }
    )
    assert status("pbs").stdout == "success\n"


@pytest.mark.parametrize("failed, exited, said", [(0, 0, "success"), (0, 137, "failed"), (100, 0, "failed")])
def test_grid_engines_accounting_has_two_numbers(pretend, failed, exited, said):
    pretend(
        {
            "qstat": "exit 1\n",
            "qacct": f"printf 'failed       {failed}   : assumedly\\nexit_status  {exited}\\n'\n",
        }
    )
    assert status("sge").stdout == f"{said}\n"


@pytest.mark.parametrize(
    "scheduler, command, answer",
    [
        ("pbs", "qstat", "qstat: Unknown Job Id 17.server"),
        ("lsf", "bjobs", "Job <17> is not found"),
        ("slurm", "scontrol", "slurm_load_jobs error: Invalid job id specified"),
    ],
)
def test_a_scheduler_that_has_forgotten_a_job_is_not_asked_for_ever(pretend, scheduler, command, answer):
    pretend({command: f"echo '{answer}' >&2; exit 1\n"})
    done = status(scheduler)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"{scheduler} no longer knows how job 17 ended ({answer})")


def test_a_bsub_that_refuses_is_a_submission_that_failed(pretend):
    pretend({"bsub": "echo 'Bad resource requirement syntax. Job not submitted.' >&2; exit 255\n"})
    done = subprocess.run([PROFILE / "submit-lsf.sh", "job.sh"], capture_output=True, text=True)
    assert done.returncode == 255 and not done.stdout
