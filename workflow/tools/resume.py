"""`make resume`: after the worst (Snakemake killed, its node gone), one command that continues.

A killed Snakemake leaves its lock, and its jobs go on. Started again beside them, it would run the same jobs twice.
So: this project's jobs that still wait or run are cancelled, found by the profile's name prefix and this directory;
fits that still run on this machine are ended; the lock is taken away; Snakemake runs. Nothing finished is lost.

    python workflow/tools/resume.py PROFILE [options of Snakemake]
"""

import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

PATIENCE = 120  # seconds that cancelled jobs may take to end
# Names under which lmm.store writes before it renames.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.(csv|parquet|json|nc|svg|html|txt)$")


def processes(root: Path) -> Iterator[tuple[int, list[str]]]:
    """(pid, command) of this user's processes that work in `root`, where the system tells."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(folder / "cwd")) == root:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(folder.name), words
        except OSError:
            continue  # ended meanwhile, or somebody else's


def is_snakemake(command: list[str]) -> bool:
    """A Snakemake that waits for jobs; not one that runs a single job on a node (it has a --mode), or unlocks."""
    named = any(Path(word).name == "snakemake" for word in command[:3])
    return named and not {"--mode", "--unlock"} & set(command)


def is_fit(command: list[str]) -> bool:
    """A script of a rule, as Snakemake starts it."""
    return any("/.snakemake/scripts/" in word for word in command)


def slurm_jobs(prefix: str, root: Path) -> list[str]:
    """Ids of this user's jobs that wait, run or end, whose name has the prefix and whose directory is `root`."""
    command = [
        "squeue",
        "--noheader",
        f"--user={getpass.getuser()}",
        "--format=%i|%j|%Z",
        "--states=PD,R,CG,CF,S",
    ]
    lines = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    jobs = [line.split("|", 2) for line in lines]
    return [id_ for id_, name, folder in jobs if name.startswith(prefix) and Path(folder).resolve() == root]


def wait_for(gone, what: str) -> None:
    """Wait until `gone()` is empty; a message and status 1 where that takes too long."""
    end = time.monotonic() + PATIENCE
    while left := gone():
        if time.monotonic() > end:
            sys.exit(
                f"resume: {what} {', '.join(map(str, left))} did not end in {PATIENCE} s; nothing was rerun"
            )
        time.sleep(0.5)


def end_orphans(profile: dict, root: Path) -> None:
    """End what a killed Snakemake left running: jobs of the cluster, then fits on this machine."""
    if profile.get("executor") == "slurm":
        if not shutil.which("squeue"):
            sys.exit(
                "resume: the profile is for Slurm, but there is no squeue here; run it where jobs are submitted"
            )
        prefix = profile.get("slurm-jobname-prefix", "")
        if not prefix:
            sys.exit(
                "resume: the profile names no slurm-jobname-prefix, so its jobs cannot be told from others"
            )
        try:
            jobs = slurm_jobs(prefix, root)
            if jobs:
                print(f"resume: cancelling {len(jobs)} jobs of {root}: {', '.join(jobs)}", flush=True)
                subprocess.run(["scancel", *jobs], check=False, timeout=60)
                wait_for(lambda: slurm_jobs(prefix, root), "jobs")
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()
            sys.exit(f"resume: Slurm does not answer, nothing was done: {said}")
    fits = [pid for pid, command in processes(root) if is_fit(command)]
    for pid in fits:
        print(f"resume: ending process {pid}", flush=True)
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: [pid for pid, command in processes(root) if is_fit(command)], "processes")


def main() -> None:
    place, options, root = Path(sys.argv[1]), sys.argv[2:], Path.cwd().resolve()
    file = place if place.is_file() else place / "config.yaml"
    if not file.is_file():
        sys.exit(f"resume: no profile {place}")
    running = [pid for pid, command in processes(root) if is_snakemake(command)]
    if running:
        sys.exit(
            f"resume: Snakemake still runs here (process {running[0]}); let it finish, or end it and come again"
        )
    end_orphans(yaml.safe_load(file.read_text()) or {}, root)
    for path in Path("results").rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)  # nobody writes it any more
    snakemake = [sys.executable, "-m", "snakemake", "--profile", str(place)]
    unlocked = subprocess.run([*snakemake, "--unlock", *options], capture_output=True, text=True)
    if unlocked.returncode:
        sys.exit(f"{unlocked.stdout}{unlocked.stderr}")
    # in this process's place: whoever ends it, ends Snakemake
    os.execv(snakemake[0], [*snakemake, "--rerun-incomplete", *options])


if __name__ == "__main__":
    main()
