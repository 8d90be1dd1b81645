"""Sending to a DICOMweb server: a small one of our own that fails as told."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest
from typer.testing import CliRunner

from mupd.base.files import sha256_path
from mupd.base.ids import artifact_name
from mupd.cli import app
from mupd.config import Config, parse_config
from mupd.errors import InputFaults, MupdError
from mupd.push import push, stow
from mupd.push.stow import PASSWORD_ENV, TOKEN_ENV, USER_ENV
from mupd.synthetic.dicom.wsi import SlideSettings, write_wsi
from tests.fixtures.synthetic import meta_of, slide_pixels

CASES = ("CASE-01", "CASE-02")
FILES = 4  # one level, thumbnail, overview, label


class Server(ThreadingHTTPServer):
    """Keeps what it is sent; `script` holds answers to give to the next POSTs instead of storing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.script: list[tuple[int, dict[str, str], Any]] = []
        self.posts = 0
        self.headers_seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.server.headers_seen.append(dict(self.headers))
        rows = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in self.server.files]
        self.answer(200 if rows else 204, rows or None)

    def do_POST(self) -> None:
        self.server.posts += 1
        self.server.headers_seen.append(dict(self.headers))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.script:
            status, headers, said = self.server.script.pop(0)
            self.answer(status, said, headers)
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = BytesParser().parsebytes(head + body).get_payload()
        assert part.get_content_type() == "application/dicom"
        # The parser is for mail and spoils binary data: the file is cut out by hand.
        boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
        data = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary, 1)[0]
        uid = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), stop_before_pixels=True).SOPInstanceUID
        self.server.files[uid] = data
        self.answer(200, {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()  # seconds between looks for the end
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The output of a run with a slide of each case, and its manifest."""
    out = tmp_path_factory.mktemp("run") / "results"
    rows = []
    for case in CASES:
        folder = out / "artifacts" / case / "he" / "synthetic-draw0"
        meta = meta_of("he", case_id=case)
        write_wsi(
            slide_pixels(300, 200),
            folder,
            meta,
            SlideSettings(run_seed=1, mpp=0.78, jpeg_quality=90, artifact_key="k" * 64),
        )
        rows.append(f"{case}\t{folder.relative_to(out)}\t{sha256_path(folder)}")
    (out / "manifest.tsv").write_text("\n".join(["case_id\tartifact\tsha256", *rows]) + "\n")
    return parse_config({"cases": "cases.tsv", "outdir": str(out)}, "test")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stow, "_FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in (TOKEN_ENV, USER_ENV, PASSWORD_ENV):
        monkeypatch.delenv(name, raising=False)


def states(account: Any) -> list[str]:
    return [outcome.state for outcome in account.outcomes]


def test_files_arrive_byte_for_byte(run: Config, server: Server) -> None:
    account = push(run, server.url)
    assert states(account) == ["stored"] * FILES * len(CASES)
    assert account.exit_code == 0
    sent = {path.read_bytes() for path in (run.out / "artifacts").rglob("*.dcm")}
    assert set(server.files.values()) == sent


def test_what_is_there_is_not_sent_again(run: Config, server: Server) -> None:
    push(run, server.url)
    posts = server.posts
    account = push(run, server.url)
    assert states(account) == ["already there"] * FILES * len(CASES)
    assert account.exit_code == 0
    assert server.posts == posts


def test_only_the_named_case_is_sent(run: Config, server: Server) -> None:
    account = push(run, server.url, ["CASE-02"])
    assert len(account.outcomes) == FILES
    assert all(outcome.path.startswith("artifacts/CASE-02/") for outcome in account.outcomes)
    with pytest.raises(InputFaults, match="CASE-09"):
        push(run, server.url, ["CASE-09"])


def test_a_case_is_found_by_its_id_in_the_sheet(run: Config, server: Server, tmp_path: Path) -> None:
    out = tmp_path / "results"
    shutil.copytree(run.out, out)
    name = artifact_name("Case / 2")
    (out / "artifacts/CASE-02").rename(out / "artifacts" / name)
    manifest = out / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("CASE-02", name))
    config = parse_config({"cases": "cases.tsv", "outdir": str(out)}, "test")
    assert {outcome.path.split("/")[1] for outcome in push(config, server.url, ["Case / 2"]).outcomes} == {name}


def test_a_busy_server_is_tried_again(run: Config, server: Server) -> None:
    server.script = [(503, {"Retry-After": "0"}, None), (429, {}, None), (500, {}, None)]
    account = push(run, server.url, ["CASE-01"])
    assert states(account) == ["stored"] * FILES
    assert server.posts == FILES + 3


def test_a_server_that_stays_busy_fails_the_file_and_the_others_go_on(run: Config, server: Server) -> None:
    server.script = [(503, {}, None)] * 5
    account = push(run, server.url, ["CASE-01"])
    assert states(account) == ["failed"] + ["stored"] * (FILES - 1)
    assert account.outcomes[0].reason == "the server answered 503 Service Unavailable (5 attempts)"
    assert account.exit_code == 1


def test_a_refusal_of_the_server_is_told_and_not_repeated(run: Config, server: Server) -> None:
    said = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC122]}}]}}
    server.script = [(409, {}, said), (401, {}, None), (302, {"Location": "http://127.0.0.1:1/"}, None)]
    account = push(run, server.url, ["CASE-01"])
    assert states(account) == ["failed"] * 3 + ["stored"]
    assert account.outcomes[0].reason == "failure reason C122 (transfer syntax not supported)"
    assert TOKEN_ENV in account.outcomes[1].reason
    assert "302" in account.outcomes[2].reason
    assert server.posts == FILES


def test_no_server_at_all(run: Config, server: Server) -> None:
    server.server_close()
    server.shutdown()
    account = push(run, "http://127.0.0.1:9/dicom-web", ["CASE-01"])
    assert set(states(account)) == {"failed"}
    assert "no connection" in account.outcomes[0].reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("altered", "altered since the run"),
        ("stripped", "marks are missing"),
        ("measured", "not marked synthetic"),
        ("unknown", "not in the manifest"),
    ],
)
def test_what_is_not_intact_and_marked_is_not_sent(
    run: Config, server: Server, tmp_path: Path, damage: str, reason: str
) -> None:
    out = tmp_path / "results"
    shutil.copytree(run.out, out)
    label = out / "artifacts/CASE-01/he/synthetic-draw0/synthetic-label.dcm"
    if damage == "altered":
        label.write_bytes(label.read_bytes() + b"\0\0")
    elif damage == "stripped":
        dataset = pydicom.dcmread(label)
        del dataset.SyntheticData
        dataset.save_as(label)
    elif damage == "measured":
        shutil.rmtree(out / "artifacts/CASE-01/he")
        plain = pydicom.dcmread(Path(pydicom.data.get_testdata_file("CT_small.dcm")))
        plain.save_as(out / "artifacts/CASE-01/ct.dcm")
    else:
        label.rename(label.with_name("synthetic-label2.dcm"))
        manifest = out / "manifest.tsv"
        manifest.write_text("\n".join(line for line in manifest.read_text().splitlines() if "CASE-01" not in line))
    account = push(parse_config({"cases": "cases.tsv", "outdir": str(out)}, "test"), server.url)
    refused = [outcome for outcome in account.outcomes if outcome.state == "refused"]
    assert len(refused) == (1 if damage == "measured" else FILES)  # a slide goes whole or not at all
    assert all(reason in outcome.reason for outcome in refused)
    assert all(outcome.path.startswith("artifacts/CASE-01/") for outcome in refused)
    assert server.posts == FILES  # the other case's
    assert account.exit_code == 1


def test_no_manifest_no_push(run: Config, server: Server, tmp_path: Path) -> None:
    with pytest.raises(MupdError, match="manifest"):
        push(parse_config({"cases": "cases.tsv", "outdir": str(tmp_path)}, "test"), server.url)


@pytest.mark.parametrize("how", ["token", "password", "netrc"])
def test_credentials_are_sent_and_never_shown(
    run: Config,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "s3cr3t-canary"
    if how == "token":
        monkeypatch.setenv(TOKEN_ENV, secret)
    elif how == "password":
        monkeypatch.setenv(USER_ENV, "someone")
        monkeypatch.setenv(PASSWORD_ENV, secret)
    else:
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login someone password {secret}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    caplog.set_level("DEBUG")
    server.script = [(500, {}, None), (403, {}, None)]
    account = push(run, server.url, ["CASE-01"])
    expected = f"Bearer {secret}" if how == "token" else "Basic "
    assert all(headers["Authorization"].startswith(expected) for headers in server.headers_seen)
    shown = str(account) + "".join(capfd.readouterr()) + caplog.text
    assert secret not in shown


def test_secrets_do_not_go_out_in_clear(run: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_ENV, "x")
    with pytest.raises(InputFaults, match="https"):
        push(run, "http://pacs.example.org/dicom-web")
    with pytest.raises(InputFaults, match="without them") as caught:
        push(run, "https://someone:s3cr3t@pacs.example.org/dicom-web")
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(InputFaults, match="HOST"):
        push(run, "pacs.example.org")


def test_command_line(run: Config, server: Server, tmp_path: Path) -> None:
    configfile = tmp_path / "c.yaml"
    configfile.write_text(json.dumps({"cases": "cases.tsv", "outdir": str(run.out)}))
    done = CliRunner().invoke(
        app, ["push", "--configfile", str(configfile), "--dicomweb", server.url, "--case", "CASE-01"]
    )
    assert done.exit_code == 0, done.output
    assert f"{FILES} files: {FILES} stored, 0 already there, 0 failed, 0 refused" in done.output
    server.files.clear()
    server.script = [(403, {}, None)]
    done = CliRunner().invoke(app, ["push", "--configfile", str(configfile), "--dicomweb", server.url])
    assert done.exit_code == 1
    assert "1 failed" in done.output
