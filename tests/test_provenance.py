"""Where a run came from, that its tables are whole, and what its card says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mupd.cli import app
from mupd.errors import InputFaults
from mupd.synthetic.signature import (
    check_signature,
    fingerprint,
    read_private_key,
    read_public_key,
    sign_file,
    signature_files,
    write_key_pair,
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.tsv"
    path.write_text("case_id\tsha256\nA\t00\n", encoding="utf-8")
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "lab.pem"
    write_key_pair(path)
    return path


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def test_a_signed_table_is_valid_and_an_altered_one_is_not(table: Path, key: Path) -> None:
    assert check_signature(table) == check_signature(table, public(key)) == "unsigned"
    sign_file(table, read_private_key(key))
    assert check_signature(table, public(key)) == "valid"
    assert check_signature(table) == "unknown key"  # whole, but nobody says whose key lies beside it
    table.write_text(table.read_text().replace("00", "01"), encoding="utf-8")
    assert check_signature(table) == check_signature(table, public(key)) == "invalid"


def test_an_altered_table_signed_anew_by_somebody_else_is_no_table_of_ours(
    table: Path, key: Path, tmp_path: Path
) -> None:
    sign_file(table, read_private_key(key))
    other = tmp_path / "other.pem"
    write_key_pair(other)
    table.write_text("forged", encoding="utf-8")
    sign_file(table, read_private_key(other))
    assert check_signature(table, public(key)) == "unknown key"
    assert check_signature(table, public(other)) == "valid"


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"x" * 65], ids=["empty", "zeros", "too long"])
def test_a_broken_signature_is_invalid(table: Path, key: Path, content: bytes) -> None:
    sign_file(table, read_private_key(key))
    signature, beside = signature_files(table)
    signature.write_bytes(content)
    assert check_signature(table, public(key)) == check_signature(table) == "invalid"
    beside.unlink()
    assert check_signature(table) == "unknown key"
    assert check_signature(table, public(key)) == "invalid"


def test_openssl_says_the_same(table: Path, key: Path) -> None:
    signature, beside = sign_file(table, read_private_key(key))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(beside), "-rawin"]
    command += ["-in", str(table), "-sigfile", str(signature)]
    try:
        good = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("OPENSSL ABSENT: the command line tool is not there")
    assert good.returncode == 0, good.stderr
    table.write_text("altered", encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_keygen_writes_a_pair_only_the_owner_can_read_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUPD_SIGN_PASSPHRASE", raising=False)
    key = tmp_path / "lab.pem"
    done = CliRunner().invoke(app, ["keygen", str(key)])
    assert done.exit_code == 0, done.output
    assert fingerprint(read_public_key(public(key))) in done.output
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    again = CliRunner().invoke(app, ["keygen", str(key)])
    assert isinstance(again.exception, InputFaults)
    assert key.read_bytes() == before


def test_a_passphrase_opens_an_encrypted_key_and_nothing_else_does(tmp_path: Path) -> None:
    key = tmp_path / "lab.pem"
    printed = write_key_pair(key, b"correct horse")
    assert b"ENCRYPTED" in key.read_bytes()
    assert fingerprint(read_private_key(key, b"correct horse").public_key()) == printed
    with pytest.raises(InputFaults, match="does not open"):
        read_private_key(key, b"wrong")
    with pytest.raises(InputFaults, match="no passphrase"):
        read_private_key(key)


def test_what_is_no_key_is_refused(tmp_path: Path, key: Path) -> None:
    with pytest.raises(InputFaults, match="No such file"):
        read_private_key(tmp_path / "gone.pem")
    text = tmp_path / "text.pem"
    text.write_text("hello", encoding="utf-8")
    for read in (read_private_key, read_public_key):
        with pytest.raises(InputFaults, match="expected an Ed25519"):
            read(text)
    with pytest.raises(InputFaults, match="no private key"):
        read_private_key(public(key))


def test_keys_need_no_heavy_import() -> None:
    code = "import sys, mupd.synthetic.signature; sys.exit('cryptography' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
