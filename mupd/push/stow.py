"""A DICOMweb client for storing (STOW-RS, PS3.18 10.5) that sends files as they are, byte for byte.

dicomweb-client encodes a dataset anew before it sends it, and holds it in memory. Here a file goes from
disk to the socket in blocks, one instance a request, so that each has an answer of its own.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from mupd.errors import Fault, InputFaults
from mupd.push.account import State

TOKEN_ENV, USER_ENV, PASSWORD_ENV = "MUPD_DICOMWEB_TOKEN", "MUPD_DICOMWEB_USER", "MUPD_DICOMWEB_PASSWORD"

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = (10, 300)
_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_JSON = "application/dicom+json"

_REASONS = {
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0272: "out of resources",
    0xA700: "out of resources",
    0xA900: "dataset does not match SOP class",
    0xC000: "cannot understand",
    0xC122: "transfer syntax not supported",
}
"""Failure Reason (0008,1197), PS3.18 10.5.3 and PS3.4 GG.4."""


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def credentials(url: str) -> AuthBase | None:
    """Credentials for requests: a token or a user's password from the environment, else ``~/.netrc``.

    Raises
    ------
    InputFaults
        If credentials would be sent unencrypted, or the URL contains them.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputFaults("command line", [Fault("--dicomweb", url, "http(s)://HOST[:PORT]/ROOT")])
    if parts.username or parts.password:
        expected = f"a URL without them: set {TOKEN_ENV}, or {USER_ENV} and {PASSWORD_ENV}, or use ~/.netrc"
        raise InputFaults("command line", [Fault("--dicomweb", "credentials in the URL", expected)])
    auth: AuthBase | None = None
    netrc = requests.utils.get_netrc_auth(url)
    if token := os.environ.get(TOKEN_ENV):
        auth = _Bearer(token)
    elif user := os.environ.get(USER_ENV):
        auth = HTTPBasicAuth(user, os.environ.get(PASSWORD_ENV, ""))
    elif netrc:
        auth = HTTPBasicAuth(*netrc)
    if auth is not None and parts.scheme == "http" and not _is_loopback(parts.hostname):
        fault = Fault(
            "--dicomweb", f"http and credentials for {parts.hostname}", "https: without it they are sent unencrypted"
        )
        raise InputFaults("command line", [fault])
    return auth


class _Multipart:
    """A multipart/related body of one file. Its length is known; the file is read in blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
        yield self._tail


@dataclass(frozen=True)
class InstanceFile:
    """A DICOM file and its UIDs."""

    path: Path
    study: str
    series: str
    instance: str


def _wait_seconds(attempt: int, answer: requests.Response | None) -> float:
    """Wait after a failed attempt: what the server asks for, else doubled each time."""
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    if asked.isdigit():
        return min(float(asked), _LONGEST_WAIT_SECONDS)
    if asked:
        try:
            moment = email.utils.parsedate_to_datetime(asked).timestamp()
            return min(max(0.0, moment - time.time()), _LONGEST_WAIT_SECONDS)
        except ValueError:
            pass  # neither seconds nor a date: ignored
    # Jitter, so that clients that failed together do not retry together.
    return min(_FIRST_WAIT_SECONDS * 2**attempt * (0.5 + secrets.randbelow(1000) / 1000), _LONGEST_WAIT_SECONDS)


def _plain(error: requests.RequestException) -> str:
    """The error in words, without the URL of the request."""
    words = {
        requests.exceptions.SSLError: "the server's certificate is not trusted",
        requests.exceptions.ConnectTimeout: "no connection in time",
        requests.exceptions.ReadTimeout: "no answer in time",
        requests.exceptions.ConnectionError: "no connection, or it was broken",
    }
    return next((text for kind, text in words.items() if isinstance(error, kind)), type(error).__name__)


class DicomwebStore:
    """One server; used by one thread."""

    def __init__(self, url: str, auth: AuthBase | None) -> None:
        """Talk to the DICOMweb root `url`."""
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = auth

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _once(self, method: str, path: str, params: dict[str, str] | None, body: Path | None) -> requests.Response:
        headers = {"Accept": _JSON}
        data = None
        if body is not None:
            data = _Multipart(body)
            headers["Content-Type"] = data.content_type
        return self._session.request(
            method,
            self._url + path,
            params=params,
            data=data,  # of known length and iterable: requests streams it
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            # A POST that is redirected would arrive as a GET without its body.
            allow_redirects=body is None,
        )

    def _send(
        self, method: str, path: str, params: dict[str, str] | None = None, body: Path | None = None
    ) -> requests.Response | str:
        """The final response, or why there is none."""
        reason = ""
        for attempt in range(_ATTEMPTS):
            answer = None
            try:
                answer = self._once(method, path, params, body)
                if answer.status_code not in _TRANSIENT:
                    return answer
                reason = f"the server answered {answer.status_code} {answer.reason}"
            except requests.exceptions.SSLError as error:
                return _plain(error)
            except requests.RequestException as error:
                reason = _plain(error)
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_wait_seconds(attempt, answer))
        return f"{reason} ({_ATTEMPTS} attempts)"

    def stored(self, study: str, series: str) -> set[str]:
        """SOP Instance UIDs of a series on the server (QIDO-RS); empty if the server does not answer the query."""
        answer = self._send("GET", f"/studies/{study}/series/{series}/instances", params={"includefield": "00080018"})
        if isinstance(answer, str) or answer.status_code != 200:
            return set()
        try:
            rows = answer.json()
            return {row["00080018"]["Value"][0] for row in rows}
        except (requests.exceptions.JSONDecodeError, KeyError, IndexError, TypeError):
            return set()

    def store(self, file: InstanceFile) -> tuple[State, str]:
        """Send one file; returns the state and, on failure or warning, the reason."""
        answer = self._send("POST", f"/studies/{file.study}", body=file.path)
        if isinstance(answer, str):
            return "failed", answer
        failure, warning = _instance_answer(answer, file.instance)
        if failure:
            return "failed", failure
        if answer.status_code in (200, 202):
            return "stored", warning
        if answer.status_code == 401:
            return "failed", f"the server requires credentials: set {TOKEN_ENV}, or {USER_ENV} and {PASSWORD_ENV}"
        return "failed", f"the server answered {answer.status_code} {answer.reason}"


def _instance_answer(answer: requests.Response, instance: str) -> tuple[str, str]:
    """The server's failure reason and warning for an instance; each empty if there is none."""
    try:
        response = json.loads(answer.content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "", ""
    if isinstance(response, list):
        response = response[0] if response else {}
    if not isinstance(response, dict):
        return "", ""
    failures = [item for item in _items(response, "00081198") if _value(item, "00081155") in (instance, None)]
    if failures:
        code = _value(failures[0], "00081197")
        return f"failure reason {_reason(code)}", ""
    warnings = [_value(item, "00081196") for item in _items(response, "00081199")]
    codes = [code for code in warnings if code is not None]
    return "", f"stored with warning {codes[0]:04X}" if codes and isinstance(codes[0], int) else ""


def _items(dataset: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [item for item in (dataset.get(tag) or {}).get("Value") or [] if isinstance(item, dict)]


def _value(item: dict[str, Any], tag: str) -> Any:
    values = (item.get(tag) or {}).get("Value") or [None]
    return values[0]


def _reason(code: Any) -> str:
    if not isinstance(code, int):
        return "not stated"
    return f"{code:04X}" + (f" ({_REASONS[code]})" if code in _REASONS else "")
