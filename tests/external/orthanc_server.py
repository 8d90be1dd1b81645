"""An Orthanc server for tests, in a network of its own that holds nothing but the loopback interface.

Orthanc 1.10 has no option to bind to an address: on the host it would listen to everybody. So it is started
in a new network namespace, and two ports of the host's loopback interface are carried into it. Nothing is
left behind: the namespace ends with the process, the storage is the caller's folder.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HTTP_PORT, DICOM_PORT = 18042, 14242
"""Inside the namespace, where nobody else listens."""

PLUGINS = Path("/usr/share/orthanc/plugins")
_CLONE_NEWNET = 0x40000000
_START_SECONDS = 30


def missing_programs() -> list[str]:
    """What has to be installed or allowed before the server can be started; empty if it can."""
    missing = [name for name in ("Orthanc", "unshare", "ip") if shutil.which(name) is None]
    missing += [name for name in ("libOrthancDicomWeb.so", "libOrthancWSI.so") if not (PLUGINS / name).exists()]
    if os.geteuid() != 0:
        missing.append("root (a network namespace is made)")
    return missing


@dataclass(frozen=True)
class Orthanc:
    """A running server, as seen from the host.

    Attributes
    ----------
    url
        Of its HTTP side, e.g. ``http://127.0.0.1:40001``.
    dicom_port
        On 127.0.0.1, for C-STORE; its application entity title is ``MUPDTEST``.
    """

    url: str
    dicom_port: int

    @property
    def dicomweb(self) -> str:
        """Root of DICOMweb."""
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> bytes:
        """Body of a GET of Orthanc's own REST interface."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def wipe(self) -> None:
        """Delete everything that is stored."""
        for patient in json.loads(self.get("/patients")):
            request = urllib.request.Request(f"{self.url}/patients/{patient}", method="DELETE")
            urllib.request.urlopen(request, timeout=30).close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass  # the other side closed first: the connection is over either way
    finally:
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _connect_inside(pid: int, port: int) -> socket.socket:
    """A connection made in the namespace of a process; changes the network of the calling thread for good."""
    with open(f"/proc/{pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def _carry(client: socket.socket, pid: int, port: int) -> None:
    try:
        server = _connect_inside(pid, port)
    except OSError:
        client.close()
        return
    back = threading.Thread(target=_pump, args=(server, client), daemon=True)
    back.start()
    _pump(client, server)
    back.join()
    client.close()
    server.close()


def _serve(listener: socket.socket, pid: int, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the listener was closed: the server goes down
        threading.Thread(target=_carry, args=(client, pid, port), daemon=True).start()


def _configuration(folder: Path) -> Path:
    values = {
        "Name": "MUPDTEST",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpPort": HTTP_PORT,
        "DicomPort": DICOM_PORT,
        "DicomAet": "MUPDTEST",
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "OverwriteInstances": True,
        "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so"), str(PLUGINS / "libOrthancWSI.so")],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(values, indent=1))
    return path


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc with its storage in `folder`; stopped on leaving.

    Raises
    ------
    RuntimeError
        If it does not answer within half a minute; with the end of its log.
    """
    configuration, log = _configuration(folder), folder / "orthanc.log"
    command = ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec Orthanc '{configuration}'"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    listeners = []
    try:
        for port in (HTTP_PORT, DICOM_PORT):
            listener = socket.create_server(("127.0.0.1", 0))
            listeners.append(listener)
            threading.Thread(target=_serve, args=(listener, process.pid, port), daemon=True).start()
        http, dicom = (listener.getsockname()[1] for listener in listeners)
        server = Orthanc(f"http://127.0.0.1:{http}", dicom)
        _wait(server, process, log)
        yield server
    finally:
        for listener in listeners:
            listener.close()
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            server.get("/system")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"Orthanc did not come up: {log.read_text(errors='replace')[-2000:]}")
