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


def _reduced(stream: tifffile.TiffWriter, pixels: Pixels, factor: int, tile: tuple[int, int], **options: Any) -> None:
    stream.write(
        pixels[::factor, ::factor],
        tile=tile,
        photometric="rgb",
        compression="jpeg",
        metadata=None,
        software=False,
        **options,
    )


def leica_scn(path: Path, pixels: Pixels, mpp: float) -> Path:
    """An SCN file as Leica's scanners lay it out: a collection of an overview and one image with two levels."""
    high, wide = pixels.shape[:2]
    nm = round(mpp * 1000)

    def image(name: str, sizes: list[tuple[int, int, int]], view: tuple[int, int], lens: int) -> str:
        levels = "".join(
            f'<dimension sizeX="{x}" sizeY="{y}" r="{r}" ifd="{ifd}"/>' for r, (x, y, ifd) in enumerate(sizes)
        )
        return (
            f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2020-01-01T00:00:00Z</creationDate>'
            f'<device model="Leica SCN400"/><pixels sizeX="{sizes[0][0]}" sizeY="{sizes[0][1]}">{levels}</pixels>'
            f'<view sizeX="{view[0]}" sizeY="{view[1]}" offsetX="0" offsetY="0" spacingZ="0"/><scanSettings>'
            f"<objectiveSettings><objective>{lens}</objective></objectiveSettings><illuminationSettings>"
            "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
            "</illuminationSettings></scanSettings></image>"
        )

    whole, part = (2 * wide * nm, 2 * high * nm), (wide * nm, high * nm)
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:scn">'
        f'<collection name="c" uuid="urn:uuid:c" sizeX="{whole[0]}" sizeY="{whole[1]}"><barcode>0</barcode>'
        + image("macro", [(wide // 4, high // 4, 2)], whole, 1)
        + image("main", [(wide, high, 0), (wide // 2, high // 2, 1)], part, 20)
        + "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as stream:
        for factor in (1, 2, 4):
            per_cm = 10_000 / mpp / factor
            _reduced(
                stream,
                pixels,
                factor,
                (256, 256),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=xml if factor == 1 else None,
            )
    return path


def ventana_bif(path: Path, pixels: Pixels, mpp: float) -> Path:
    """A BIF file as Ventana's scanners lay it out: one area of two by two tiles, two levels, a label."""
    high, wide = pixels.shape[:2]
    tile = (high // 2, wide // 2)
    area = '<AOI0 Left="0" Top="0" Right="2" Bottom="2"/>'
    scan = f'<iScan Magnification="20" ScanRes="{mpp}" UnitNumber="1">{area}</iScan>'
    joints = "".join(
        f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="{way}" Tile1="{one}" Tile2="{two}" OverlapX="0" '
        'OverlapY="0"/>'
        for way, one, two in (("RIGHT", 1, 2), ("UP", 2, 3), ("UP", 1, 4), ("RIGHT", 4, 3))
    )
    size = 'NumRows="2" NumCols="2"'
    stitched = (
        f'<EncodeInfo Ver="2"><SlideInfo><AoiInfo XIMAGESIZE="{tile[1]}" YIMAGESIZE="{tile[0]}" {size} '
        'Pos-X="0" Pos-Y="0"/></SlideInfo><SlideStitchInfo>'
        f'<ImageInfo AOIScanned="1" AOIIndex="0" {size} Width="{tile[1]}" Height="{tile[0]}" Pos-X="0" Pos-Y="0">'
        f'{joints}</ImageInfo></SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )

    def xmp(text: str) -> list[tuple[int, int, int, bytes, bool]]:
        return [(700, 1, len(text), text.encode(), True)]

    with tifffile.TiffWriter(path, bigtiff=True) as stream:
        stream.write(
            pixels[::4, ::4],
            photometric="rgb",
            metadata=None,
            description="Label Image",
            software=False,
            extratags=xmp(scan),
        )
        for level, factor in enumerate((1, 2)):
            words = f"level={level} mag={20 // factor} quality=90"
            tags = xmp(stitched) if level == 0 else []
            _reduced(stream, pixels, factor, tile, description=words, extratags=tags)
    return path
