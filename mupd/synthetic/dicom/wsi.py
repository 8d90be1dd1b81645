"""Writes one H&E draw as a DICOM whole-slide image: pyramid, overview, thumbnail, label, all read back.

Header, pixel data and offset table of each file are wsidicom's. The tiles come from
:func:`mupd.synthetic.dicom.pyramid.stream_pyramid`. wsidicom describes every level as ORIGINAL and without
Synthetic Data, so the marks are put into the datasets before writing and looked for in the files
afterwards, before the folder takes its final name.
"""

from __future__ import annotations

import copy
import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage
from upath import UPath
from wsidicom.file.io import OffsetTableType, WsiDicomWriter
from wsidicom.instance import WsiDataset, WsiInstance
from wsidicom.metadata.image import ImageType
from wsidicom.metadata.schema.dicom.wsi import WsiMetadataDicomSchema

from mupd.base.files import atomic_path
from mupd.contracts.draws import DrawMeta
from mupd.synthetic.dicom.codecs import CodecName, FrameEncoder, frame_encoder
from mupd.synthetic.dicom.image import PixelImageData, Pixels, SlidePixels
from mupd.synthetic.dicom.label import LABEL_MM_PER_PX, overview_size, render_label, render_overview
from mupd.synthetic.dicom.metadata import (
    LABEL_COORDINATES,
    SLIDE_COORDINATES,
    Appearance,
    created_utc,
    derivation_description,
    he_appearance,
    label_series_description,
    slide_metadata,
)
from mupd.synthetic.dicom.pixel_digest import stamp_digest
from mupd.synthetic.dicom.pyramid import Tile, halve, level_sizes, stream_pyramid
from mupd.synthetic.dicom.readback import LABEL_FILE, OVERVIEW_FILE, THUMBNAIL_FILE, assert_marked, level_file
from mupd.synthetic.dicom.uids import SlideUids, slide_uids
from mupd.synthetic.statement import synthetic_id

TILE_PX = 512
THUMBNAIL_PX = 256
_SMALL_PX = 1024
_LETTERING_QUALITY = 95
_LABEL_SERIES_NUMBERS_FROM = 1001
_GREY = {"PresentationLUTShape": "IDENTITY", "RescaleIntercept": 0, "RescaleSlope": 1}
"""What PS3.3 C.8.12.4 asks of MONOCHROME2: values are shown as they are."""


@dataclass(frozen=True)
class SlideSettings:
    """How a slide is written.

    Attributes
    ----------
    run_seed
        Seed of the run, for the UIDs.
    mpp
        Micrometres per pixel of level 0.
    jpeg_quality
        0 to 100; used by codec ``jpeg`` only.
    artifact_key
        Digest of what the file depends on; kept in the file, part of the UIDs.
    codec
        See :func:`mupd.synthetic.dicom.codecs.frame_encoder`.
    watermark
        Weave the mark of :mod:`mupd.synthetic.picture.watermark` into the pixels of level 0. The other levels, the
        overview and the thumbnail are made from those.
    study_created
        When the first draw of the case was made (ISO 8601); None = when this one was made.
    workers
        Encoding threads; None = one per core, at most 8. The files do not depend on it.
    appearance
        What the headers say of the stain; None = haematoxylin and eosin. If it has channels, the pixels are
        (height, width, channels), and the levels are MONOCHROME2.
    in_colour
        Makes RGB of channels at low resolution (height, width, channels), for thumbnail and overview.
    """

    run_seed: int
    mpp: float
    jpeg_quality: int
    artifact_key: str
    codec: CodecName = "jpeg"
    watermark: bool = False
    study_created: str | None = None
    workers: int | None = None
    appearance: Appearance | None = None
    in_colour: Callable[[Pixels], Pixels] | None = None


class _InstanceWriter(WsiDicomWriter):
    """Writes the draw's time as Instance Creation Date and Time (0008,0012), (0008,0013), not the clock's.

    `write_header` uses private attributes of wsidicom 0.36: pyproject.toml caps wsidicom below 0.37.
    """

    created: datetime.datetime

    def write_header(self, dataset: WsiDataset) -> None:
        """Write preamble, file meta information and dataset."""
        self._file.write_preamble()
        self._file.write_file_meta_info(dataset.instance_uid, VLWholeSlideMicroscopyImageStorage, self._transfer_syntax)
        self._dataset_start = self._file.tell()
        self._file.write_dataset(dataset.as_dataset(), self.created)
        self._dataset_end = self._file.tell()


class _SlideWriter:
    """Writes the files of one slide into a folder, all with the same marks, UIDs and codec."""

    def __init__(self, folder: Path, meta: DrawMeta, uids: SlideUids, settings: SlideSettings) -> None:
        self._folder = folder
        self._uids = uids
        self._settings = settings
        self._created = created_utc(meta.created)
        appearance = settings.appearance or he_appearance()
        described = (meta, uids, settings.artifact_key, settings.study_created or meta.created, appearance)
        self._in_colour, self._in_channels = (slide_metadata(*described, of_channels) for of_channels in (False, True))
        self.channels = [path.identifier or "" for path in appearance.channels]
        self._marks = {
            "SyntheticData": "YES",
            "ContentQualification": "RESEARCH",
            "DerivationDescription": derivation_description(meta, appearance.said),
            "TimezoneOffsetFromUTC": "+0000",
        }
        self._label_series = {
            "SeriesInstanceUID": uids.label_series,
            "SeriesNumber": _LABEL_SERIES_NUMBERS_FROM + meta.draw,
            "SeriesDescription": label_series_description(meta, appearance.name),
        }
        self._plain: dict[ImageType, WsiDataset] = {}
        self.names: list[str] = []
        self.samples: dict[str, dict[int, Tile]] = {}

    def dataset(self, data: PixelImageData, kind: ImageType, scale: int = 1) -> WsiDataset:
        """Header of an image, or of the level of it that is `scale` times smaller."""
        grey = data.samples_per_pixel == 1
        if kind not in self._plain:
            metadata = self._in_channels if grey else self._in_colour
            described = WsiMetadataDicomSchema().dump(metadata, kind, not grey)
            index = 0 if kind is ImageType.VOLUME else None
            self._plain[kind] = WsiInstance.create_instance(data, described, kind, index).dataset
        level = self._plain[kind].as_tiled_full([0.0], data.optical_paths, data.tiled_size, scale)
        resampled = scale > 1 or kind in (ImageType.THUMBNAIL, ImageType.OVERVIEW)
        image_type = ["DERIVED", "PRIMARY", kind.value, "RESAMPLED" if resampled else "NONE"]
        groups = copy.deepcopy(level.as_dataset().SharedFunctionalGroupsSequence)
        groups[0].WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType = image_type
        changes: dict[str, Any] = {"ImageType": image_type, "SharedFunctionalGroupsSequence": groups, **self._marks}
        if kind is ImageType.LABEL:
            changes |= self._label_series
        if grey:
            changes |= _GREY
        return level.replace(changes).update_for_transcoding(data.encoder, scale)

    @contextmanager
    def instance(self, name: str, dataset: WsiDataset, encoder: FrameEncoder) -> Iterator[Callable[[bytes], object]]:
        """One file: takes its frames in order."""
        self.names.append(name)
        size = int(dataset.as_dataset().TotalPixelMatrixColumns), int(dataset.as_dataset().TotalPixelMatrixRows)
        uid = UID(self._uids.instance(dataset.image_type.value, *size))
        identified = dataset.as_instance(instance_uid=uid, instance_number=len(self.names))
        raw = int(identified.frame_count) * identified.tile_size.area * int(identified.samples_per_pixel)
        # A basic offset table counts to 2^32; wsidicom would notice at the end and copy the whole file.
        table = OffsetTableType.EXTENDED if not encoder.lossy and raw >= 2**32 else OffsetTableType.BASIC
        writer = _InstanceWriter.open(UPath(self._folder / name), encoder.transfer_syntax, table)
        writer.created = self._created
        try:
            writer.write_header(identified)
            writer.start_pixel_data(identified)
            yield lambda frame: writer.write_tiles([frame])
            writer.finalize(identified, encoder)
        except BaseException:
            with suppress(OSError):  # a full disk fails again on closing; the first error is the one to tell
                writer.close()
            raise
        stamp_digest(self._folder / name)

    def single_frame(self, name: str, data: PixelImageData, kind: ImageType, pixels: Pixels) -> None:
        """A file with one frame: label, overview or thumbnail."""
        encoder = data.encoder
        frame = encoder.encode(pixels)
        with self.instance(name, self.dataset(data, kind), encoder) as sink:
            sink(frame)
        self.samples[name] = {0: Tile(frame, pixels)}

    def pyramid(self, parts: Sequence[SlidePixels], data: PixelImageData, encoder: FrameEncoder) -> Pixels:
        """All levels, of one picture in colour or of channels, frames of one after the other (PS3.3 C.7.6.17.3).

        Returns the slide at low resolution, channels along the last axis.
        """
        workers = self._settings.workers or min(8, len(os.sched_getaffinity(0)))
        sizes = level_sizes(parts[0].width, parts[0].height, TILE_PX)
        small = []
        with ExitStack() as stack:
            sinks = [
                stack.enter_context(
                    self.instance(level_file(level), self.dataset(data, ImageType.VOLUME, 2**level), encoder)
                )
                for level in range(len(sizes))
            ]
            for number, pixels in enumerate(parts):
                made = stream_pyramid(pixels, sinks, encoder.encode, TILE_PX, _SMALL_PX, workers)
                small.append(made.small)
                for (level, frame), tile in made.samples.items():
                    width, height = sizes[level]
                    before = number * -(-width // TILE_PX) * -(-height // TILE_PX)
                    self.samples.setdefault(level_file(level), {})[before + frame] = tile
        return np.concatenate(small, axis=2)

    def slide(self, parts: Sequence[SlidePixels], identifier: str) -> None:
        """Write every file of the slide."""
        codec, quality = self._settings.codec, self._settings.jpeg_quality
        mm, pixels = self._settings.mpp / 1000, parts[0]
        encoder, lettering = frame_encoder(codec, quality), frame_encoder(codec, _LETTERING_QUALITY)
        of_levels = frame_encoder(codec, quality, grey=True) if self.channels else encoder
        base = PixelImageData(pixels, (mm, mm), SLIDE_COORDINATES, TILE_PX, of_levels, self.channels)
        small = self.pyramid(parts, base, of_levels)
        if self._settings.in_colour is not None:
            small = self._settings.in_colour(small)

        def whole_slide(picture: Pixels, with_encoder: FrameEncoder) -> PixelImageData:
            height, width = picture.shape[:2]
            spacing = (mm * pixels.width / width, mm * pixels.height / height)
            return PixelImageData(SlidePixels(picture), spacing, SLIDE_COORDINATES, None, with_encoder)

        thumbnail = small
        while max(thumbnail.shape[:2]) > THUMBNAIL_PX:
            thumbnail = halve(thumbnail)
        self.single_frame(THUMBNAIL_FILE, whole_slide(thumbnail, encoder), ImageType.THUMBNAIL, thumbnail)
        taken = [*level_sizes(pixels.width, pixels.height, TILE_PX), (thumbnail.shape[1], thumbnail.shape[0])]
        overview = render_overview(small, identifier, overview_size(pixels.width, pixels.height, taken))
        self.single_frame(OVERVIEW_FILE, whole_slide(overview, lettering), ImageType.OVERVIEW, overview)
        label = render_label(identifier)
        label_mm = (LABEL_MM_PER_PX, LABEL_MM_PER_PX)
        described = PixelImageData(SlidePixels(label), label_mm, LABEL_COORDINATES, None, lettering)
        self.single_frame(LABEL_FILE, described, ImageType.LABEL, label)


def write_wsi(pixels: np.ndarray, folder: Path, meta: DrawMeta, settings: SlideSettings) -> list[Path]:
    """Write a slide as DICOM into `folder`, replacing what is there, atomically.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8 RGB; a memory-mapped array is read tile by tile.
    folder
        Final folder, e.g. ``artifacts/CASE/he/synthetic-draw0``.
    meta
        Of the draw; its `created` is the only time that is written.

    Returns
    -------
    list of Path
        ``synthetic-level0.dcm`` ..., ``synthetic-thumbnail.dcm``, ``synthetic-overview.dcm``, and
        ``synthetic-label.dcm``, which is a series of its own.

    Raises
    ------
    ValueError
        If `pixels` is not (height, width, 3) uint8.
    CaseError
        If a written file lacks a mark or a frame is not as it was encoded; nothing is left under the
        final name.
    OSError
        If the files cannot be written; likewise.
    """
    mark: Callable[[Pixels], Pixels] | None = None
    if settings.watermark:
        from mupd.synthetic.picture.watermark import embed as mark
    appearance = settings.appearance or he_appearance()
    channels = len(appearance.channels)
    if channels and (pixels.ndim != 3 or pixels.shape[2] != channels):
        raise ValueError(f"pixels: found {pixels.shape}; expected (height, width, {channels}), one per channel")
    parts = [SlidePixels(pixels, None, index) for index in range(channels)] or [SlidePixels(pixels, mark)]
    uids = slide_uids(settings.run_seed, meta, settings.artifact_key, settings.study_created or meta.created)
    identifier = synthetic_id(meta.case_id, meta.draw, meta.target)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        writer = _SlideWriter(temporary, meta, uids, settings)
        writer.slide(parts, identifier)
        size = (parts[0].width, parts[0].height)
        names = [path.description or "" for path in appearance.channels]
        assert_marked(temporary, identifier, size, uids, settings.codec == "jpeg", writer.samples, names)
    return [folder / name for name in writer.names]
