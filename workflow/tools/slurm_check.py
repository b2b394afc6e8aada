"""`make slurm-check`: does the cluster answer, and what of the profile does not fit it? One line a finding.

    python workflow/tools/slurm_check.py PROFILE

Status 0: everything that a run needs is there. Status 1: something is missing; its line says what to do.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATIENCE = 300  # seconds that the trial job may wait for its turn
# What the Slurm plugin's first look at a job's state takes, three times over (its own rule).
JOB_AGE = 120


def ask(*command: str, seconds: float = 30) -> tuple[bool, str]:
    """Run a command: whether it went well, and what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False, f"no answer in {seconds:.0f} s"
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def setting(text: str, name: str) -> str:
    """A value of `scontrol show config`."""
    found = re.search(rf"^{name}\s*= (.*)$", text, re.M)
    return found.group(1).strip() if found else ""


def controller(profile: dict) -> Iterator[tuple[bool, str]]:
    """Does Slurm's controller answer, and can jobs' states be asked the way the profile says?"""
    well, said = ask("scontrol", "show", "config")
    if not well:
        yield False, f"Slurm's controller does not answer ({said}); is this a login node of the cluster?"
        return
    yield True, f"cluster {setting(said, 'ClusterName')} answers, Slurm {setting(said, 'SLURM_VERSION')}"
    accounting = "none" not in setting(said, "AccountingStorageType")
    command = profile.get("slurm-status-command", "sacct")
    age = int(re.match(r"\d*", setting(said, "MinJobAge")).group() or 0)
    if command == "sacct" and not accounting:
        yield False, "no accounting database, where sacct waits for ever; set slurm-status-command: squeue"
    elif command == "squeue" and age < JOB_AGE:
        yield (
            accounting,
            (
                f"finished jobs leave squeue after {age} s; "
                + (
                    "the plugin will ask sacct"
                    if accounting
                    else f"ask the site for MinJobAge={JOB_AGE} or more"
                )
            ),
        )
    else:
        yield True, f"states of jobs by {command}"


def partition(resources: dict) -> Iterator[tuple[bool, str]]:
    """Is there the partition that jobs go to, with nodes that take them and memory for one of ours?"""
    _, said = ask("sinfo", "--noheader", "--format=%P|%a|%T|%m|%c")
    rows = [line.split("|") for line in said.splitlines() if line.count("|") == 4]
    wanted = resources.get("slurm_partition")
    rows = [row for row in rows if row[0].rstrip("*") == wanted or (not wanted and row[0].endswith("*"))]
    if not rows:
        what = f"no partition '{wanted}'" if wanted else "the cluster has no default partition"
        yield False, f"{what}; set slurm_partition under default-resources (sinfo lists them)"
        return
    name = rows[0][0].rstrip("*")
    usable = [row for row in rows if row[1] == "up" and re.match("idle|mix|alloc|comp", row[2])]
    if not usable:
        states = ", ".join(sorted({row[2] for row in rows}))
        yield (
            False,
            f"partition {name} has no node that takes jobs (they are {states}); choose another or wait",
        )
        return
    memory = max(int(re.match(r"\d+", row[3]).group()) for row in usable)
    yield True, f"partition {name}, nodes of up to {memory} MB and {max(row[4] for row in usable)} cores"
    asked = re.findall(r"\d+", str(resources.get("mem_mb", "")))
    if not asked:
        yield False, "the profile gives no mem_mb under default-resources; many sites then refuse jobs"
    elif int(asked[-1]) > memory:
        yield False, f"jobs ask for {asked[-1]} MB (mem_mb under default-resources), no node of {name} has it"


def account(resources: dict) -> Iterator[tuple[bool, str]]:
    """Would a job be let in under the profile's account?"""
    options = [
        f"--{option}={resources[f'slurm_{option}']}" for option in ("partition", "account")
        if resources.get(f"slurm_{option}")
    ]  # fmt: skip
    well, said = ask("sbatch", "--test-only", "--time=1", "--mem=250", *options, "--wrap", "true")
    if well:
        yield True, f"a job would be let in ({' '.join(options) or 'default partition and account'})"
    else:
        yield False, f"Slurm would refuse our jobs; see slurm_account and slurm_partition: {said}"


def node(resources: dict) -> Iterator[tuple[bool, str]]:
    """A trial job: does a node see this directory, and this Python with what is installed in it?"""
    options = [f"--partition={resources['slurm_partition']}"] if resources.get("slurm_partition") else []
    options += [f"--account={resources['slurm_account']}"] if resources.get("slurm_account") else []
    with tempfile.TemporaryDirectory(prefix=".slurm-check-", dir=".") as folder:
        token, reply = Path(folder, "token"), Path(folder, "reply").absolute()
        token.write_text(os.urandom(8).hex())
        trial = f'test -f "{token.absolute()}" || exit 91\ntest -x "{sys.executable}" || exit 92\n'
        trial += f'"{sys.executable}" -c "import snakemake, numpy, duckdb" || exit 93\n'
        trial += f'cp "{token.absolute()}" "{reply}" || exit 94\n'
        command = ["srun", "--job-name=lmm-recovery-check", "--time=2", "--mem=1000", "--ntasks=1", *options]
        well, said = ask(*command, "sh", "-c", trial, seconds=PATIENCE)
        if well and reply.exists() and reply.read_text() == token.read_text():
            yield True, f"a node ran a trial job with {sys.executable} and wrote into {Path.cwd()}"
            return
    wrong = {
        "91": f"the node does not see {Path.cwd()}; move the project to a file system that nodes share",
        "92": f"the node has no {sys.executable}; make .venv where nodes see it, with a Python that they have",
        "93": "the node's Python cannot import what is installed in .venv; run make again on a node of the same kind",
        "94": f"the node cannot write into {Path.cwd()}; move the project to a file system that nodes may write",
    }
    code = re.search(r"Exited with exit code (\d+)|exit code (\d+)", said)
    what = wrong.get(next(filter(None, code.groups()), ""), "") if code else ""
    yield False, what or f"a trial job did not run ({said.splitlines()[-1] if said else 'no message'})"


def findings(profile: dict) -> Iterator[tuple[bool, str]]:
    """(well, line) of everything looked at, until something makes the rest pointless."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        yield False, f"no {', '.join(missing)} here; log in to a node from which jobs are submitted"
        return
    resources = profile.get("default-resources") or {}
    for look in (
        lambda: controller(profile),
        *(lambda look=look: look(resources) for look in (partition, account, node)),
    ):
        for well, line in look():
            yield well, line
            if not well:
                return


def main() -> None:
    place = Path(sys.argv[1])
    file = place if place.is_file() else place / "config.yaml"
    if not file.is_file():
        sys.exit(f"missing: no profile {place}")
    ready = True
    for well, line in findings(yaml.safe_load(file.read_text()) or {}):
        print(f"{'ok' if well else 'missing'}: {line}", flush=True)
        ready = ready and well
    sys.exit(not ready)


if __name__ == "__main__":
    main()
