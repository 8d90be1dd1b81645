"""Slides in formats that the tests write themselves: OME-TIFF, strips, DICOM in several codecs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def ome_tiff(path: Path, pixels: Pixels, mpp: float | None, unit: str = "µm", **options: Any) -> Path:
    """An OME-TIFF with reduced levels in SubIFDs, as Bio-Formats and QuPath write them."""
    metadata: dict[str, Any] = {"axes": options.pop("axes", "YXS")}
    if mpp is not None:
        metadata |= {f"PhysicalSize{axis}": mpp * options.get("anisotropy", 1) ** (axis == "X") for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    options.pop("anisotropy", None)
    planar = metadata["axes"][0] in "SC"
    reduce = np.s_[:, ::2, ::2] if planar else np.s_[::2, ::2]
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb", **options}
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as writer:
        writer.write(pixels, subifds=1, metadata=metadata, **options)
        writer.write(pixels[reduce], subfiletype=1, **options)
    return path


def jpeg(pixels: Pixels) -> bytes:
    """A baseline JPEG without chroma subsampling."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85, subsampling=0)
    return stream.getvalue()


def dicom_level(
    path: Path,
    pixels: Pixels,
    series: str,
    mpp: float = 0.5,
    codec: str = "native",
    flavour: str = "VOLUME",
    number: int = 1,
    tile_px: int = 128,
) -> Path:
    """One level of a DICOM whole-slide image; `codec` is ``native``, ``jpeg`` or ``jpegls``."""
    import imagecodecs
    import pydicom
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless, generate_uid

    height, width = pixels.shape[:2]
    grid = (-(-height // tile_px), -(-width // tile_px))
    whole = np.full((grid[0] * tile_px, grid[1] * tile_px, 3), 255, np.uint8)
    whole[:height, :width] = pixels
    frames = [
        np.ascontiguousarray(whole[y : y + tile_px, x : x + tile_px])
        for y in range(0, whole.shape[0], tile_px)
        for x in range(0, whole.shape[1], tile_px)
    ]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    syntaxes = {"native": ExplicitVRLittleEndian, "jpeg": JPEGBaseline8Bit, "jpegls": JPEGLSLossless}
    meta.TransferSyntaxUID = syntaxes[codec]
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    kind = ["ORIGINAL", "PRIMARY", flavour, "NONE" if number == 1 else "RESAMPLED"]
    data.ImageType = kind
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", series, f"{series}.9"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "SM", 7, number
    data.PatientID = data.PatientName = data.StudyDate = data.StudyTime = data.StudyID = ""
    data.ContentDate, data.ContentTime, data.AcquisitionDateTime = "20240101", "000000", "20240101000000"
    data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.ReferringPhysicianName = ""
    data.Manufacturer = data.ManufacturerModelName = data.DeviceSerialNumber = data.SoftwareVersions = "test"
    data.DimensionOrganizationType, data.VolumetricProperties = "TILED_FULL", "VOLUME"
    data.ContainerIdentifier, data.SpecimenLabelInImage = "C1", "NO"
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if codec == "jpeg" else "RGB"
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), tile_px, tile_px
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.BurnedInAnnotation = 7, "NO"
    data.LossyImageCompression = "01" if codec == "jpeg" else "00"
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows, data.TotalPixelMatrixFocalPlanes = width, height, 1
    data.ImagedVolumeWidth, data.ImagedVolumeHeight, data.ImagedVolumeDepth = width * mpp / 1e3, height * mpp / 1e3, 0.1
    data.ImageOrientationSlide, data.FocusMethod, data.ExtendedDepthOfField = [0, -1, 0, -1, 0, 0], "AUTO", "NO"
    origin, path_item, measures, shared, frame_type = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    data.TotalPixelMatrixOriginSequence = [origin]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "111744", "DCM", "Brightfield illumination"
    path_item.OpticalPathIdentifier, path_item.IlluminationTypeCodeSequence = "0", [code]
    data.OpticalPathSequence, data.NumberOfOpticalPaths = [path_item], 1
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1e3, mpp / 1e3], 0.1
    frame_type.FrameType = kind
    shared.PixelMeasuresSequence, shared.WholeSlideMicroscopyImageFrameTypeSequence = [measures], [frame_type]
    data.SharedFunctionalGroupsSequence = [shared]
    if codec == "native":
        data.PixelData = b"".join(frame.tobytes() for frame in frames)
    else:
        encoded = [jpeg(frame) if codec == "jpeg" else imagecodecs.jpegls_encode(frame) for frame in frames]
        data.PixelData = encapsulate(encoded)
    data["PixelData"].VR = "OB"
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
