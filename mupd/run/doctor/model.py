"""The model's folder: complete files, no pickles, and the licence.

The model is not loaded: a safetensors file begins with its table of contents.
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

from mupd.base.files import sha256_file
from mupd.errors import ModelError
from mupd.model_folder.contents import read_genes, read_record_fields
from mupd.run.doctor.finding import Finding

PARTS = ("vae", "transformer", "rna_codec", "pathways", "tile_encoder")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_MOST_HEADER = 100_000_000
_TRAIN = "set model to the folder of a trained model (docs/training.md)"
_COPY = "copy the model's folder again"


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """{tensor: shape} of a safetensors file. Reads the header only.

    Raises
    ------
    ModelError
        If it is not such a file, or its size is not what its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else _MOST_HEADER + 1
        if length > min(_MOST_HEADER, size - 8):
            raise ModelError(f"{path.name}: found no safetensors header; expected weights in safetensors")
        try:
            table = json.loads(stream.read(length))
            tensors = {name: part for name, part in table.items() if name != "__metadata__"}
            end = max((part["data_offsets"][1] for part in tensors.values()), default=0)
            shapes = {name: tuple(int(side) for side in part["shape"]) for name, part in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ModelError(f"{path.name}: found a header that cannot be read; expected safetensors") from error
    if size != 8 + length + end:
        raise ModelError(f"{path.name}: found {size:,} bytes; its header says {8 + length + end:,}")
    return shapes


def licence_of(card: Path) -> str | None:
    """The licence in a model card (README.md): ``license:`` in the YAML head, or a line ``License: ...``; else None."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    if head and (match := re.search(r"^licen[cs]e:\s*['\"]?([\w.+-]+)", head[1], re.MULTILINE)):
        return match[1]
    # Licences in tables are those of training data.
    line = re.search(r"^[#*\-\s]*licen[cs]e[*\s]*:?[*\s]*(\S.*)?$", text, re.MULTILINE | re.IGNORECASE)
    if line is None:
        return None
    words = line[1] or next((part for part in text[line.end() :].splitlines() if part.strip()), "")
    return words.strip(" *.")[:120] or None


def check_licence(folder: Path) -> Finding:
    """Check the licence in the model card."""
    licence = licence_of(folder / "README.md")
    fix = "ask whoever made the model what it may be used for, and write it into the card's YAML head (license: ...)"
    if licence is None:
        card = "no README.md" if not (folder / "README.md").is_file() else "README.md names no licence"
        return Finding("model", "licence", "WARN", card, fix)
    if re.search(r"\bnc\b|non.?commercial", licence, re.IGNORECASE):
        return Finding(
            "model", "licence", "WARN", licence, "not for commercial use: make sure that your use is not commercial"
        )
    return Finding("model", "licence", "PASS", licence)


def check_weights(folder: Path) -> list[Finding]:
    """Check the weights of each part by their headers; shows the first digits of their hash."""
    findings = []
    for part in PARTS:
        files = sorted((folder / part).glob("*.safetensors"))
        if not files:
            findings.append(Finding("model", part, "FAIL", f"no {part}/*.safetensors", _COPY))
        for path in files:
            try:
                shapes = read_header(path)
            except (ModelError, OSError) as error:
                findings.append(Finding("model", part, "FAIL", f"{error}", _COPY))
                continue
            values = sum(math.prod(shape) for shape in shapes.values())
            words = f"{path.name}: {len(shapes)} tensors, {values / 1e6:.2f} M values, sha256 {sha256_file(path)[:12]}"
            findings.append(Finding("model", part, "PASS", words))
    return findings


def check_model(model: str) -> list[Finding]:
    """All of this module's findings."""
    folder = Path(model)
    if not folder.is_dir():
        return [Finding("model", "folder", "FAIL", f"{model}: no such folder", _TRAIN)]
    findings = []
    if not (folder / "model_index.json").is_file():
        findings.append(Finding("model", "folder", "FAIL", f"{model}: no model_index.json", _TRAIN))
    else:
        findings.append(Finding("model", "folder", "PASS", model))
    try:
        genes, fields = read_genes(folder), read_record_fields(folder)
    except ModelError as error:
        findings.append(Finding("model", "vocabulary", "FAIL", str(error), _COPY))
    else:
        if genes is None:
            findings.append(Finding("model", "vocabulary", "FAIL", "no genes.json", _COPY))
        else:
            words = f"{len(genes):,} genes, {len(fields)} fields of a record"
            findings.append(Finding("model", "vocabulary", "PASS", words))
    findings += check_weights(folder)
    if pickles := sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in _PICKLES):
        fix = "remove them, or convert them to safetensors: mupd never reads them"
        findings.append(Finding("model", "pickles", "WARN", ", ".join(pickles[:5]), fix))
    else:
        findings.append(Finding("model", "pickles", "PASS", "none: no file can run code when it is loaded"))
    return [*findings, check_licence(folder)]
