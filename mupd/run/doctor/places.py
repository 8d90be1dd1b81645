"""Folders: free space, permission to write, and whether a cluster's nodes can see them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mupd.run.doctor.finding import Finding

NODE_LOCAL = ("tmpfs", "ramfs", "overlay", "devtmpfs", "squashfs", "aufs")
"""File systems of one machine or one container."""

SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "glusterfs", "panfs", "pvfs2", "afs")
_SHARED_FUSE = ("glusterfs", "ceph", "beegfs", "s3fs", "gcsfuse", "sshfs", "weka", "juicefs", "moosefs")
_LOCAL_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/scratch/local", "/local", "/run")


def existing(path: Path) -> Path:
    """The path, or the nearest existing folder above it."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def mount_of(path: Path, mounts: str) -> tuple[str, str]:
    """Mount point and type of a path's file system.

    Parameters
    ----------
    mounts
        Text of ``/proc/self/mounts``, e.g. ``/dev/sda1 /data ext4 rw 0 0``; spaces in names are ``\\040``.
    """
    where = str(existing(path).resolve())
    mount = ("/", "unknown")
    for line in mounts.splitlines():
        parts = line.split()
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ")
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        # A later mount on the same point hides the earlier one.
        if inside and len(point) >= len(mount[0]):
            mount = (point, parts[2])
    return mount


def is_shared(kind: str) -> bool | None:
    """Whether other machines see a type of file system; None if unknown (a local disk may be exported)."""
    if kind in SHARED or (kind.startswith("fuse.") and any(name in kind for name in _SHARED_FUSE)):
        return True
    return False if kind in NODE_LOCAL else None


def read_mounts() -> str:
    """Text of ``/proc/self/mounts``; empty on systems without it."""
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_seen(name: str, path: Path, mounts: str) -> Finding:
    """Check whether a cluster's nodes see a path, judged by its file system."""
    point, kind = mount_of(path, mounts)
    where = str(path.absolute())
    fix = f"put it on a file system that every node mounts at the same path, then set {name} to it"
    local = next((folder for folder in _LOCAL_FOLDERS if Path(where).is_relative_to(folder)), None)
    shared = is_shared(kind)
    if shared:
        return Finding("places", f"{name} on the nodes", "PASS", f"{where} on {kind} ({point})")
    if local:
        return Finding("places", f"{name} on the nodes", "WARN", f"{where}: each node has a {local} of its own", fix)
    if shared is False:
        return Finding("places", f"{name} on the nodes", "WARN", f"{where} on {kind} ({point}), local to a node", fix)
    words = f"{where} on {kind} ({point}): a local disk, unless it is exported to the nodes"
    return Finding("places", f"{name} on the nodes", "WARN", words, f"srun ls {where} shows it? Else {fix}")


def check_writable(name: str, path: Path) -> Finding:
    """Check that a folder can be written to, or created."""
    there = existing(path)
    if not there.is_dir():
        return Finding("places", f"{name} writable", "FAIL", f"{there} is a file", f"set {name} to a folder")
    if os.access(there, os.W_OK | os.X_OK):
        words = str(path) if there == path.absolute() else f"{path}, to be created in {there}"
        return Finding("places", f"{name} writable", "PASS", words)
    fix = f"chmod u+w {there}, or set {name} to a folder of yours"
    return Finding("places", f"{name} writable", "FAIL", f"no permission to write in {there}", fix)


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def check_space(name: str, path: Path, needed: int | None) -> Finding:
    """Check free space against what a run needs at most; `needed` is None if unknown."""
    free = shutil.disk_usage(existing(path)).free
    if needed is None:
        return Finding("places", f"{name} space", "SKIP", f"{_size(free)} free; the need is unknown without a sheet")
    words = f"{_size(free)} free, at most {_size(needed)} needed"
    if free >= needed:
        return Finding("places", f"{name} space", "PASS", words)
    fix = "free space, set outdir to another disk, or lower slide.width_px, slide.height_px or draws.he"
    return Finding("places", f"{name} space", "FAIL", words, fix)


def check_places(outdir: str, model: str, needed: int | None, on_cluster: bool) -> Sequence[Finding]:
    """All of this module's findings."""
    findings = [check_writable("outdir", Path(outdir)), check_space("outdir", Path(outdir), needed)]
    if on_cluster:
        mounts = read_mounts()
        findings += [check_seen("model", Path(model), mounts), check_seen("outdir", Path(outdir), mounts)]
    return findings
