"""Writes one H&E draw as a DICOM whole-slide image: pyramid, label, thumbnail, every mark read back.

wsidicom writes every level as ORIGINAL and without Synthetic Data unless told, so the marks are put
into the datasets before writing and checked in the files afterwards, before the folder takes its
final name.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID
from wsidicom import WsiDicom
from wsidicom.geometry import Size
from wsidicom.instance import WsiDataset, WsiInstance
from wsidicom.metadata import WsiMetadata
from wsidicom.metadata.image import ImageType
from wsidicom.metadata.schema.dicom.wsi import WsiMetadataDicomSchema
from wsidicom.metadata.uid_generator import CallableUidGenerator
from wsidicom.source import Source

from mupd.files import atomic_path
from mupd.store import DrawMeta
from mupd.synthetic.dicom_image import PixelImageData, shrink
from mupd.synthetic.dicom_metadata import (
    LABEL_COORDINATES,
    SLIDE_COORDINATES,
    created_utc,
    derivation_description,
    slide_metadata,
)
from mupd.synthetic.dicom_readback import assert_marked, name_and_stamp
from mupd.synthetic.label import LABEL_MM_PER_PX, render_label
from mupd.synthetic.statement import synthetic_id
from mupd.synthetic.uids import SlideUids, slide_uids

TILE_PX = 512
THUMBNAIL_PX = 512
_LABEL_QUALITY = 95


class _SlideDataset(WsiDataset):
    """Dataset of the base level: levels derived from it are marked as resampled.

    wsidicom copies the base dataset for the levels it makes and leaves ``VOLUME\\NONE`` in them.
    """

    def as_tiled_full(
        self, focal_planes: Sequence[float], optical_paths: Sequence[str], tiled_size: Size, scale: int = 1
    ) -> WsiDataset:
        dataset = super().as_tiled_full(focal_planes, optical_paths, tiled_size, scale)
        return dataset if scale == 1 else _marked(dataset, self.image_type.value, True)


def _marked(dataset: WsiDataset, flavour: str, resampled: bool, derivation: str | None = None) -> WsiDataset:
    """A copy with the marks that wsidicom's metadata model does not know."""
    image_type = ["DERIVED", "PRIMARY", flavour, "RESAMPLED" if resampled else "NONE"]
    groups = copy.deepcopy(dataset.as_dataset().SharedFunctionalGroupsSequence)
    groups[0].WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType = image_type
    changes: dict[str, object] = {"ImageType": image_type, "SharedFunctionalGroupsSequence": groups}
    if derivation is not None:
        changes |= {
            "SyntheticData": "YES",
            "ContentQualification": "RESEARCH",
            "DerivationDescription": derivation,
            "TimezoneOffsetFromUTC": "+0000",
        }
    return dataset.replace(changes)


class _SlideSource(Source):
    """What wsidicom saves: one base level, one label, one thumbnail."""

    def __init__(
        self, metadata: WsiMetadata, derivation: str, base: PixelImageData, label: PixelImageData, thumb: PixelImageData
    ) -> None:
        super().__init__()
        schema = WsiMetadataDicomSchema()

        def instance(data: PixelImageData, kind: ImageType, index: int | None) -> WsiInstance:
            plain = WsiInstance.create_instance(data, schema.dump(metadata, kind, True), kind, index)
            marked = _marked(plain.dataset, kind.value, kind is ImageType.THUMBNAIL, derivation)
            return WsiInstance(_SlideDataset(marked.as_dataset()), data)

        self._levels = [instance(base, ImageType.VOLUME, 0)]
        self._labels = [instance(label, ImageType.LABEL, None)]
        self._thumbnails = [instance(thumb, ImageType.THUMBNAIL, None)]

    @property
    def base_dataset(self) -> WsiDataset:
        return self._levels[0].dataset

    @property
    def level_instances(self) -> Iterable[WsiInstance]:
        return self._levels

    @property
    def label_instances(self) -> Iterable[WsiInstance]:
        return self._labels

    @property
    def overview_instances(self) -> Iterable[WsiInstance]:
        return []

    @property
    def thumbnail_instances(self) -> Iterable[WsiInstance]:
        return self._thumbnails

    @property
    def annotation_instances(self) -> Iterable[object]:
        return []

    def close(self) -> None:
        """Nothing is held open."""


class _InstanceUids(CallableUidGenerator):
    """SOP Instance UIDs from flavour and size, whichever order the writer's threads ask in."""

    def __init__(self, uids: SlideUids) -> None:
        super().__init__(self._unexpected)
        self._uids = uids

    @staticmethod
    def _unexpected() -> UID:
        raise RuntimeError("wsidicom asked for a UID that is not derived from the draw")

    def sop_uid(self, dataset: Dataset) -> UID:
        """UID of one image."""
        size = int(dataset.TotalPixelMatrixColumns), int(dataset.TotalPixelMatrixRows)
        return UID(self._uids.instance(str(dataset.ImageType[2]), *size))


def write_wsi(
    pixels: np.ndarray,
    folder: Path,
    meta: DrawMeta,
    *,
    run_seed: int,
    mpp: float,
    jpeg_quality: int,
    artifact_key: str,
    study_created: str | None = None,
    workers: int | None = None,
) -> list[Path]:
    """Write a slide as DICOM into `folder`, replacing what stands there, atomically.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8 RGB; a memory-mapped array is read tile by tile.
    folder
        Final folder, e.g. ``artifacts/CASE/he/synthetic-draw0``.
    meta
        Of the draw; its `created` is the only time that is written.
    run_seed
        Of the run, for the UIDs.
    mpp
        Micrometres a pixel of level 0.
    jpeg_quality
        0 to 100.
    artifact_key
        Digest of what the file depends on; kept in the file, part of the UIDs.
    study_created
        When the first draw of the case was made (ISO 8601); `meta.created` unless given.
    workers
        Encoding threads; as many as cores (at most 8) unless given. The files do not depend on it.

    Returns
    -------
    list of Path
        ``synthetic-level0.dcm`` ..., ``synthetic-thumbnail.dcm``, ``synthetic-label.dcm``.

    Raises
    ------
    ValueError
        If `pixels` is not (height, width, 3) uint8.
    CaseError
        If a written file lacks a mark; nothing is left under the final name.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels: found {pixels.shape} {pixels.dtype}; expected (height, width, 3) uint8")
    study_created = study_created or meta.created
    uids = slide_uids(run_seed, meta, artifact_key, study_created)
    metadata = slide_metadata(meta, uids, artifact_key, study_created)
    identifier = synthetic_id(meta.case_id, meta.draw)
    small, factor = shrink(pixels, THUMBNAIL_PX)
    base = PixelImageData(pixels, mpp / 1000, SLIDE_COORDINATES, TILE_PX, jpeg_quality)
    thumb = PixelImageData(small, mpp * factor / 1000, SLIDE_COORDINATES, None, jpeg_quality)
    label = PixelImageData(render_label(identifier), LABEL_MM_PER_PX, LABEL_COORDINATES, None, _LABEL_QUALITY)
    threads = workers or min(8, len(os.sched_getaffinity(0)))
    with atomic_path(folder) as temporary:
        source = _SlideSource(metadata, derivation_description(meta), base, label, thumb)
        with WsiDicom(source) as slide:
            slide.save(
                temporary,
                uid_generator=_InstanceUids(uids),
                workers=threads,
                add_missing_levels=True,
                offset_table="bot",
            )
        names = name_and_stamp(temporary, created_utc(meta.created))
        assert_marked(temporary, identifier, (pixels.shape[1], pixels.shape[0]))
    return [folder / name for name in names]
