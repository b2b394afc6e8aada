"""A real Slurm of one node, in a directory of its own: munged, slurmctld and slurmd, stopped by their pids.

    python tests/cluster/lab.py start DIR     prints what to export; needs root and Slurm's binaries
    python tests/cluster/lab.py stop DIR

Nothing is installed. Jobs look for slurm.conf at the system's place (the executor's job step drops
SLURM_CONF), so links are put there and taken away again; a machine with a Slurm of its own is left alone.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
SYSTEM = Path("/etc/slurm")
LINKS = ("slurm.conf", "cgroup.conf")
# One lab at a time on a machine: there is one system's place for slurm.conf.
LOCK = Path("/tmp/lmm-recovery-lab.lock")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MEMORY_MB = 8000  # what the node says it has; jobs here are small

SLURM_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/sock
CredType=cred/munge
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.log
{tracking}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
# as shipped, 20 small jobs take 25 s to be started
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobcomp.txt
ReturnToService=2
MinJobAge=3600
MaxJobCount=10000
KillWait=5
InactiveLimit=0
# a dead slurmd is noticed, and its jobs ended as NODE_FAIL, within this many seconds
SlurmdTimeout=10
# a job over its time limit is ended at once
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES DefMemPerCPU=512 MaxTime=1-0 State=UP
"""
WITH_CGROUPS = """\
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup"""
WITHOUT_CGROUPS = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none"""
CGROUP_CONF = """\
CgroupPlugin={plugin}
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=yes
ConstrainDevices=no
"""


def obstacle() -> str:
    """Why no lab can be started here; empty where one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        return f"Slurm's {', '.join(missing)} not installed (.ci/run has the list of packages)"
    if os.geteuid() != 0:
        return "Slurm's daemons want root"
    conf = SYSTEM / LINKS[0]
    if conf.exists() and not conf.is_symlink():
        return f"this machine has a Slurm of its own ({conf})"
    return ""


def cgroup_plugin() -> str:
    """The cgroup version that this machine lets us use; empty where none."""
    for plugin, place in (("cgroup/v1", "memory"), ("cgroup/v2", "")):
        folder = Path("/sys/fs/cgroup", place)
        if not (folder / ("cgroup.procs" if place else "cgroup.controllers")).exists():
            continue
        trial = folder / f"lab-{os.getpid()}"
        with contextlib.suppress(OSError):
            trial.mkdir()
            trial.rmdir()
            return plugin
    return ""


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def until(true, seconds: float, what: str) -> None:
    """Wait for `true()`; TimeoutError, naming `what`, when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


class Lab:
    """A cluster of one node under `root`; every method acts on that one alone."""

    def __init__(self, root: Path):
        self.root = Path(root).resolve()
        self.host = socket.gethostname().split(".")[0]
        self.conf = self.root / "slurm.conf"
        self.memory_is_limited = bool(cgroup_plugin())
        self.environment = {"SLURM_CONF": str(self.conf), "PATH": PATH}

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands; its output."""
        env = os.environ | self.environment
        # in a session of its own: what ends a test by its process group does not end munged half-way
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, start_new_session=True
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        for folder in ("munge", "state", "spool", "log"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "munge").chmod(0o700)
        plugin = cgroup_plugin()
        ctld_port, slurmd_port = free_ports(2)
        self.conf.write_text(
            SLURM_CONF.format(
                root=self.root, host=self.host, ctld_port=ctld_port, slurmd_port=slurmd_port,
                tracking=WITH_CGROUPS if plugin else WITHOUT_CGROUPS, cpus=os.cpu_count(), memory=MEMORY_MB,
            )
        )  # fmt: skip
        (self.root / "cgroup.conf").write_text(CGROUP_CONF.format(plugin=plugin) if plugin else "")
        SYSTEM.mkdir(exist_ok=True)
        for name in LINKS:
            (SYSTEM / name).unlink(missing_ok=True)
            (SYSTEM / name).symlink_to(self.root / name)
        self._start_munged()
        self.start_slurmctld()
        self.start_slurmd()

    def _start_munged(self) -> None:
        munge = self.root / "munge"
        key = munge / "key"
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
        places = {"key-file": key, "socket": munge / "sock", "pid-file": munge / "pid",
                  "log-file": munge / "log", "seed-file": munge / "seed"}  # fmt: skip
        self.run("munged", "--force", *(f"--{name}={path}" for name, path in places.items()))

    def start_slurmctld(self) -> None:
        """Start the controller and wait for its answer."""
        self.run("slurmctld")
        until(lambda: self.run("scontrol", "ping", check=False).find("UP") >= 0, 20, "slurmctld")

    def start_slurmd(self) -> None:
        """Start the node's daemon and wait until the node takes jobs."""
        self.run("slurmd", "-N", self.host)
        until(lambda: self.state() in ("idle", "mixed", "allocated"), 30, "slurmd")

    def state(self) -> str:
        """The node's state, as sinfo has it, without marks."""
        return self.run("sinfo", "--noheader", "--format=%T", check=False).strip().strip("*~#!%$@^-")

    def set_node(self, state: str) -> None:
        """Drain or resume the node."""
        self.run("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def pid(self, daemon: str) -> int | None:
        """A daemon's process, by its pid file; None where it does not run."""
        file = self.root / ("munge/pid" if daemon == "munged" else f"{daemon}.pid")
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(file.read_text())
            return pid if self.alive(pid, daemon) else None
        return None

    def alive(self, pid: int, daemon: str) -> bool:
        """Whether a process is that daemon and more than a dead one that nobody has reaped."""
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            return False
        return daemon in name and rest.split()[0] != "Z"

    def end(self, daemon: str, with_signal: int = signal.SIGTERM) -> None:
        """Send a daemon a signal and wait until it is gone."""
        pid = self.pid(daemon)
        if pid is None:
            return
        os.kill(pid, with_signal)
        # the process, not its pid file: a daemon that waits for a job's end has deleted that already
        try:
            until(lambda: not self.alive(pid, daemon), 20, f"end of {daemon}")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs, then all daemons; take the links away."""
        with contextlib.suppress(TimeoutError, RuntimeError):  # whatever state it is in, the daemons go
            if self.pid("slurmctld"):
                if self.pid("munged") is None:
                    self._start_munged()
                if self.pid("slurmd") is None:
                    self.start_slurmd()  # only it can end its jobs
                self.cancel()
                until(lambda: not self.queue(), 20, "end of all jobs")
        for daemon in ("slurmd", "slurmctld", "munged"):
            self.end(daemon)
        for name in LINKS:
            link = SYSTEM / name
            if link.is_symlink() and Path(os.readlink(link)).parent == self.root:
                link.unlink()

    def queue(self) -> list[str]:
        """Ids of jobs that wait, run or end just now."""
        return self.run("squeue", "--noheader", "--format=%i", "--states=PD,R,CG,CF,S").split()

    def cancel(self) -> None:
        """Cancel all jobs."""
        for job in self.queue():
            self.run("scancel", job, check=False)

    def jobs(self) -> list[dict[str, str]]:
        """What really ran: every ended job, as Slurm's job-completion log has it."""
        log = self.root / "log/jobcomp.txt"
        lines = log.read_text().splitlines() if log.exists() else []
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


@contextlib.contextmanager
def lab(root: Path) -> Iterator[Lab]:
    """A started lab, stopped at the end; waits while another one of this machine runs."""
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_away()
        one = Lab(root)
        try:
            one.start()
            yield one
        finally:
            one.stop()


def clear_away() -> None:
    """Stop a lab that was left behind: its owner died without stopping it."""
    link = SYSTEM / LINKS[0]
    if link.is_symlink():
        Lab(Path(os.readlink(link)).parent).stop()
        link.unlink(missing_ok=True)


def main() -> None:
    action, root = sys.argv[1], Path(sys.argv[2])
    if action == "stop":
        Lab(root).stop()
    elif reason := obstacle():
        sys.exit(reason)
    else:
        clear_away()
        Lab(root).start()
        print(f"export SLURM_CONF={Lab(root).conf}")


if __name__ == "__main__":
    main()
