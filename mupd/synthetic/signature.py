"""Ed25519 signatures (RFC 8032) over the tables of a run: who wrote them, and that nobody changed them since.

Beside a signed file ``NAME`` lie ``NAME.sig``, the 64 bytes of its signature, and ``NAME.pub``, the public key (PEM).
They are what OpenSSL reads, so that nobody needs mupd to check them::

    openssl pkeyutl -verify -pubin -inkey NAME.pub -rawin -in NAME -sigfile NAME.sig

The key beside a file proves nothing by itself: whoever alters the file can put a key of their own there. Hence
``valid`` is said only of a key that the reader has from elsewhere.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mupd.base.files import atomic_path
from mupd.errors import Fault, InputFaults

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

log = logging.getLogger(__name__)

SignatureState = Literal["valid", "invalid", "unsigned", "unknown key"]
SIGNATURE_SUFFIX = ".sig"
PUBLIC_SUFFIX = ".pub"


def signature_files(path: Path) -> tuple[Path, Path]:
    """Where the signature of `path` and the public key lie."""
    return path.with_name(path.name + SIGNATURE_SUFFIX), path.with_name(path.name + PUBLIC_SUFFIX)


def passphrase_from(variable: str) -> bytes | None:
    """The passphrase that an environment variable holds; None if it is not set or empty."""
    value = os.environ.get(variable, "")
    return value.encode() if value else None


def _refuse(path: Path, actual: str, expected: str) -> InputFaults:
    return InputFaults("signature", [Fault(path.name, actual, expected)])


def read_private_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """A private key from a PEM file (PKCS #8).

    Raises
    ------
    InputFaults
        If the file cannot be read, is no Ed25519 key, or the passphrase does not open it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    expected = "an Ed25519 private key in PEM, as `mupd keygen` writes it"
    try:
        data, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise _refuse(path, error.strerror or type(error).__name__, expected) from error
    try:
        # A passphrase that the key does not need is refused by cryptography; here the same variable may serve others.
        encrypted = b"ENCRYPTED" in data
        key = load_pem_private_key(data, passphrase if encrypted else None)
    except TypeError as error:
        raise _refuse(path, "an encrypted key and no passphrase", "the passphrase in sign.passphrase_env") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        actual = "a key that this passphrase does not open" if encrypted else "no private key"
        raise _refuse(path, actual, expected) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _refuse(path, type(key).__name__.lstrip("_"), expected)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning("sign.key: the private key can be read by others than its owner; chmod 600 it")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """A public key from a PEM file.

    Raises
    ------
    InputFaults
        If the file cannot be read or is no Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    expected = "an Ed25519 public key in PEM, as `mupd keygen` writes it"
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise _refuse(path, error.strerror or type(error).__name__, expected) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refuse(path, "no public key", expected) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _refuse(path, type(key).__name__.lstrip("_"), expected)
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo (DER), as hexadecimal.

    The same as ``openssl pkey -pubin -in NAME.pub -outform DER | sha256sum``.
    """
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _public_pem(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_key_pair(path: Path, passphrase: bytes | None = None) -> str:
    """Make a key pair: ``PATH`` (private, mode 0600, encrypted if there is a passphrase) and ``PATH.pub``.

    Returns
    -------
    str
        The public key's fingerprint.

    Raises
    ------
    InputFaults
        If either file is there: a key is never overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    public = path.with_name(path.name + PUBLIC_SUFFIX)
    if there := [file for file in (path, public) if file.exists()]:
        raise InputFaults("keygen", [Fault(str(file), "a file", "a new name") for file in there])
    key = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    with atomic_path(path) as temporary:
        # Created closed to others: a key that was readable for an instant is no secret.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with atomic_path(public) as temporary:
        temporary.write_bytes(_public_pem(key.public_key()))
    return fingerprint(key.public_key())


def sign_file(path: Path, key: Ed25519PrivateKey) -> tuple[Path, Path]:
    """Write the signature of a file and the public key beside it; returns both paths."""
    signature, public = signature_files(path)
    with atomic_path(signature) as temporary:
        temporary.write_bytes(key.sign(path.read_bytes()))
    with atomic_path(public) as temporary:
        temporary.write_bytes(_public_pem(key.public_key()))
    return signature, public


def remove_signature(path: Path) -> None:
    """Remove what an earlier, signed run left beside a file that is now written unsigned."""
    for file in signature_files(path):
        file.unlink(missing_ok=True)


def _fits(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def check_signature(path: Path, public_key: Path | None = None) -> SignatureState:
    """What the signature beside a file (``manifest.tsv``, ``ro-crate-metadata.json``) says of it.

    Parameters
    ----------
    public_key
        The key that the reader trusts (PEM), got by another way than the file itself.

    Returns
    -------
    str
        ``valid``: signed with `public_key` and not altered since. ``invalid``: altered, or the signature was.
        ``unsigned``: no signature lies beside it. ``unknown key``: a signature lies there, whole or not to be
        checked, but not of `public_key`, or no key was given.

    Raises
    ------
    InputFaults
        If `public_key` cannot be used.
    OSError
        If the file cannot be read.
    """
    signature_file, beside = signature_files(path)
    data = path.read_bytes()
    trusted = None if public_key is None else read_public_key(public_key)
    if not signature_file.is_file():
        return "unsigned"
    signature = signature_file.read_bytes()
    if trusted is not None and _fits(trusted, signature, data):
        return "valid"
    try:
        given = read_public_key(beside)
    except InputFaults:
        # Without the key beside it nobody can tell an altered file from one that another key signed.
        return "unknown key" if trusted is None else "invalid"
    if not _fits(given, signature, data):
        return "invalid"
    return "invalid" if trusted is not None and fingerprint(trusted) == fingerprint(given) else "unknown key"
