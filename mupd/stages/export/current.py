"""Whether an artifact stands already as it would be written now: then it is not written again.

The key inside it (:func:`mupd.contracts.artifacts.artifact_key`) covers all that its content depends on. Its marks and
its content have to be whole, too.
"""

from __future__ import annotations

from pathlib import Path

from mupd.errors import UnusableError


def slide_is_current(folder: Path, key: str) -> bool:
    """Whether the slide in a folder has this key, every mark, and the frames that were written."""
    from mupd.synthetic.dicom.marks import provenance_of, read_header
    from mupd.synthetic.dicom.readback import level_file
    from mupd.synthetic.verify.verify import verify_path

    base = folder / level_file(0)
    if not base.is_file():
        return False
    try:
        if provenance_of(read_header(base)).get("artifact_key") != key:
            return False
    except UnusableError:
        return False
    verification = verify_path(folder)
    return verification.kind == "dicom-wsi" and not verification.marks_missing and verification.content == "intact"


def anndata_is_current(path: Path, key: str) -> bool:
    """Whether an AnnData has this key and every mark, and is not altered."""
    from mupd.synthetic.anndata.peek import look_at_hdf5
    from mupd.synthetic.verify.verify import verify_path

    if not path.is_file():
        return False
    try:
        if look_at_hdf5(path).provenance.get("artifact_key") != key:
            return False
    except UnusableError:
        return False
    verification = verify_path(path)
    return verification.kind == "anndata" and not verification.marks_missing and verification.hash_state != "altered"


def derived_is_current(path: Path, key: str) -> bool:
    """Whether a structured report or a parametric map has this key and every mark, and is not altered."""
    from mupd.synthetic.dicom.derived import look_at_derived

    if not path.is_file():
        return False
    try:
        evidence = look_at_derived(path)
    except UnusableError:
        return False
    return evidence.provenance.get("artifact_key") == key and not evidence.missing and not evidence.altered
