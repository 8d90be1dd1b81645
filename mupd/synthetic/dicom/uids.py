"""Deterministic DICOM UIDs: the same draw gets the same UIDs on every machine and every rerun.

UIDs are of the UUID-derived form ``2.25.<decimal of a UUID>`` (DICOM PS3.5 B.2), here of a
version-5 UUID, so that no registered root is needed and nothing of a patient's UIDs is reused.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from mupd.contracts.draws import DrawMeta

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:mupd:synthetic-uid:1")


def derived_uid(*parts: str | int) -> str:
    """UID of the joined parts (at most 44 characters; DICOM allows 64)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(str(part) for part in parts)).int}"


@dataclass(frozen=True)
class SlideUids:
    """UIDs of one synthetic slide: one study a case and run, one series a draw and one for its label."""

    study: str
    series: str
    label_series: str
    frame_of_reference: str
    dimension_organization: str
    specimen: str
    pyramid: str
    _identity: tuple[str | int, ...]

    def instance(self, flavour: str, width: int, height: int) -> str:
        """SOP Instance UID of the image of a flavour (VOLUME, LABEL, OVERVIEW, THUMBNAIL) and size in pixels."""
        return derived_uid("instance", *self._identity, flavour, width, height)


def slide_uids(run_seed: int, meta: DrawMeta, artifact_key: str, study_created: str) -> SlideUids:
    """UIDs that follow from the run seed, the case, the draw's content and the artifact's key.

    Parameters
    ----------
    study_created
        When the first draw of the case was made: date and time of the study that its draws share.
    artifact_key
        Digest of everything else that changes the file (JPEG quality, form of the marks): two
        files that differ never share a SOP Instance UID.
    """
    identity = (run_seed, meta.case_id, meta.target, meta.draw, meta.seed, meta.content_sha256, artifact_key)

    def one(kind: str) -> str:
        return derived_uid(kind, *identity)

    return SlideUids(
        study=derived_uid("study", run_seed, meta.case_id, meta.model_sha256, study_created),
        series=one("series"),
        label_series=one("label series"),
        frame_of_reference=one("frame of reference"),
        dimension_organization=one("dimension organization"),
        specimen=one("specimen"),
        pyramid=one("pyramid"),
        _identity=identity,
    )
