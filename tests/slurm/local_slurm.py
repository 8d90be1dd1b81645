"""A real SLURM on the loopback: munged, slurmctld and two slurmd, each a node of this host with one stand-in GPU.

No systemd and no accounting database. Everything lies in one folder; what was started is stopped by its process id.
By hand, as root: ``python tests/slurm/local_slurm.py FOLDER`` starts it, says how to use it, and stops it at Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
NODES = ("node1", "node2")
CONF = Path("/etc/slurm/slurm.conf")
"""Where SLURM's commands look: Snakemake's job step takes SLURM_CONF out of the environment."""

_SECONDS = 60.0


def missing() -> list[str]:
    """What this machine lacks for it: programs of Debian's slurmctld, slurmd, slurm-client, munge; or root."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not absent and os.geteuid() != 0:
        absent = ["root"]
    if not absent and CONF.exists():
        absent = [f"a machine without a SLURM of its own ({CONF} is there)"]
    return absent


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Slurm:
    """A running SLURM."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a command of SLURM needs to find this one."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        """Run a command of SLURM; its output."""
        env = os.environ | self.environment
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout

    def start(self, name: str, command: list[str], **how: object) -> None:
        """Start a daemon in the foreground mode of its own, detached, its output in a file."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | self.environment,
                start_new_session=True,
                **how,  # type: ignore[call-overload]
            )

    def start_node(self, name: str) -> None:
        """Start a node's slurmd."""
        self.start(name, ["slurmd", "-D", "-N", name])

    def stop_daemon(self, name: str) -> None:
        """Stop a daemon by its process id."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def jobs(self) -> list[dict[str, str]]:
        """Jobs that are waiting or running: id, state, node, comment (rule and wildcards)."""
        lines = self.call("squeue", "-h", "-o", "%i|%T|%N|%k").splitlines()
        return [dict(zip(("id", "state", "node", "comment"), line.split("|"), strict=True)) for line in lines]

    def node_states(self) -> dict[str, str]:
        """State of each node."""
        lines = self.call("sinfo", "-h", "-N", "-o", "%N|%T").splitlines()
        return dict(line.split("|") for line in lines)  # type: ignore[misc]

    def wait_idle(self) -> None:
        """Wait until every node is up and idle."""
        deadline = time.monotonic() + _SECONDS
        while set(states := self.node_states().values()) != {"idle"}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"SLURM: nodes are {sorted(states)} after {_SECONDS:.0f} s; see {self.folder}")
            time.sleep(0.3)

    def stop(self) -> None:
        """Cancel all jobs, stop every daemon and whatever they left."""
        started = [psutil.Process(process.pid) for process in self.processes.values() if process.poll() is None]
        children = [child for process in started for child in process.children(recursive=True)]
        if "slurmctld" in self.processes:
            for job in self.jobs():
                subprocess.run(["scancel", job["id"]], env=os.environ | self.environment, check=False)
        for name in list(self.processes):
            self.stop_daemon(name)
        left = psutil.wait_procs([*children, *self.left_behind()], timeout=5)[1]
        for child in left:
            child.kill()
        psutil.wait_procs(left, timeout=5)

    def left_behind(self) -> list[psutil.Process]:
        """Jobs, and what watches over them, that outlived their node: nobody's children any more."""
        found = []
        for process in psutil.process_iter():
            try:
                variables = process.environ()
                of_job = "SLURM_JOB_ID" in variables or process.name().startswith("slurmstepd")
            except psutil.Error:
                continue  # ended meanwhile, or not ours to look at
            if of_job and variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                found.append(process)
        return found


def _configure(folder: Path) -> None:
    control, *ports = _free_ports(3)
    host = socket.gethostname().split(".")[0]
    memory = 200_000  # as said, not as there is: a job that is tried again asks for more each time
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory={memory} Gres=gpu:1"
        for name, port in zip(NODES, ports, strict=True)
    )
    (folder / "slurm.conf").write_text(
        f"""ClusterName=mupd-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
ReturnToService=1
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
EnforcePartLimits=ALL
KillWait=5
OverTimeLimit=0
SlurmdTimeout=30
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={",".join(NODES)} Default=YES MaxTime=2880 State=UP
PartitionName=gpu Nodes={",".join(NODES)} MaxTime=2880 State=UP
"""
    )
    # A GPU is a device file to SLURM; these two are always there.
    devices = dict(zip(NODES, ("/dev/zero", "/dev/full"), strict=True))
    lines = [f"NodeName={name} Name=gpu File={device}" for name, device in devices.items()]
    (folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *lines]) + "\n")


@contextmanager
def running_slurm(folder: Path) -> Iterator[Slurm]:
    """A SLURM that is up; stopped at the end.

    Raises
    ------
    RuntimeError
        If it does not come up in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("munge", "state"):
        (folder / name).mkdir(mode=0o755)
    folder.chmod(0o755)
    _configure(folder)
    slurm = Slurm(folder)
    CONF.parent.mkdir(exist_ok=True)
    for name in ("slurm.conf", "gres.conf"):
        link = CONF.with_name(name)
        if link.is_symlink() and not link.exists():
            link.unlink()  # of a test that was killed
        link.symlink_to(folder / name)
    try:
        munge = folder / "munge"
        subprocess.run(["mungekey", "-c", "-k", str(munge / "key")], check=True)
        files = [f"--{kind}={munge / kind}" for kind in ("socket", "pid-file", "log-file", "seed-file")]
        slurm.start("munged", ["munged", "-F", "--force", f"--key-file={munge / 'key'}", *files])
        _wait_for(munge / "socket")
        slurm.start("slurmctld", ["slurmctld", "-D", "-c"])
        for name in NODES:
            slurm.start_node(name)
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                slurm.wait_idle()
                break
            except subprocess.CalledProcessError:  # slurmctld does not answer yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        yield slurm
    finally:
        slurm.stop()
        for name in ("slurm.conf", "gres.conf"):
            CONF.with_name(name).unlink()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path}: not there after {_SECONDS:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    with running_slurm(Path(sys.argv[1]).resolve()) as running:
        print(running.call("sinfo", "-N", "-o", "%N %T %G"))
        print(f"export SLURM_CONF={running.environment['SLURM_CONF']}\nCtrl-C stops it.", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
