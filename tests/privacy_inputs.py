"""Inputs of every kind with a patient planted wherever a file can hold one."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
from conftest import he_pixels
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from tiny_model import tiny_codec

NAME = "Kanarienvogel"
GIVEN_NAME = "Zebedina"
BIRTH_DATE = "19470229"  # no day that ever was: nothing else writes it
ACCESSION = "ACC7Q4X9ZZ"
HOSPITAL = "Quisquilia"
SOURCE_UID = "1.2.826.0.1.3680043.8.498.77777777"
BODY = "hummingbird"
FOLDER = "kestrelfolder"
FILE = "peregrinefile"
FREE = "albatrosscolumn"

IDENTITY = f"{NAME}^{GIVEN_NAME} {BIRTH_DATE} {ACCESSION} {HOSPITAL} Hospital {SOURCE_UID}"
CANARIES = (NAME, GIVEN_NAME, BIRTH_DATE, ACCESSION, HOSPITAL, SOURCE_UID, BODY, FOLDER, FILE, FREE)
PLACES = (FOLDER, FILE)
"""Words of folder and file names: the inventory, by which the next stage finds an input, has to hold these."""


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


def _dicom_instance(path: Path, pixels: NDArray[np.uint8], flavour: str, number: int, tile: int = 128) -> None:
    """One VL Whole Slide Microscopy instance of a scanner, TILED_FULL, JPEG (PS3.3 A.32.8)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.sequence import Sequence
    from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

    height, width = pixels.shape[:2]
    tile = tile if flavour == "VOLUME" else max(height, width)
    tiles = [
        np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)), mode="edge")
        for y in range(0, height, tile)
        for x in range(0, width, tile)
        for part in [pixels[y : y + tile, x : x + tile]]
    ]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    ds.SOPInstanceUID = f"{SOURCE_UID}.1.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{SOURCE_UID}.2", f"{SOURCE_UID}.3"
    ds.FrameOfReferenceUID = f"{SOURCE_UID}.4"
    ds.PatientName, ds.PatientID = f"{NAME}^{GIVEN_NAME}", f"{NAME}-{ACCESSION}"
    ds.PatientBirthDate, ds.PatientSex, ds.OtherPatientNames = BIRTH_DATE, "F", f"{GIVEN_NAME}^{NAME}"
    ds.PatientComments = IDENTITY
    ds.AccessionNumber, ds.InstitutionName = ACCESSION, f"{HOSPITAL} Hospital"
    ds.InstitutionAddress, ds.ReferringPhysicianName = f"{HOSPITAL} Street", f"{NAME}^Doctor"
    ds.StudyID, ds.StudyDescription, ds.SeriesDescription = ACCESSION[:16], IDENTITY[:64], IDENTITY[:64]
    ds.StudyDate = ds.ContentDate = ds.AcquisitionDateTime = BIRTH_DATE
    ds.DeviceSerialNumber, ds.StationName, ds.ImageComments = ACCESSION, HOSPITAL, IDENTITY
    ds.ContainerIdentifier, ds.BarcodeValue, ds.LabelText = ACCESSION, ACCESSION, IDENTITY
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = f"{NAME}-{ACCESSION}", f"{SOURCE_UID}.5"
    specimen.SpecimenDetailedDescription = IDENTITY
    ds.SpecimenDescriptionSequence = Sequence([specimen])
    private = ds.private_block(0x0099, f"{HOSPITAL} PRIVATE", create=True)
    private.add_new(0x01, "LT", IDENTITY)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SM", 1, number
    ds.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    ds.Rows = ds.Columns = tile
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = height, width
    ds.NumberOfFrames = len(tiles)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.DimensionOrganizationType, ds.LossyImageCompression = "TILED_FULL", "01"
    measures, shared, optical = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.00078, 0.00078], 0.004
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    optical.OpticalPathIdentifier = "1"
    ds.OpticalPathSequence = Sequence([optical])
    ds.PixelData = encapsulate([_jpeg(part) for part in tiles])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path, enforce_file_format=True)


def dicom_slide(folder: Path, seed: int) -> Path:
    """A series with a level, a label that shows the name, and a thumbnail."""
    from PIL import ImageDraw

    folder.mkdir()
    pixels = he_pixels(256, 256, seed)
    label = Image.new("RGB", (128, 64), "white")
    ImageDraw.Draw(label).text((4, 20), f"{NAME} {ACCESSION}", "black")
    _dicom_instance(folder / f"{FILE}-level.dcm", pixels, "VOLUME", 1)
    _dicom_instance(folder / f"{FILE}-label.dcm", np.asarray(label), "LABEL", 2)
    _dicom_instance(folder / f"{FILE}-thumbnail.dcm", pixels[::4, ::4].copy(), "THUMBNAIL", 3)
    return folder


def svs_slide(path: Path, seed: int) -> Path:
    """A tiled TIFF as an Aperio scanner writes it; the description names the patient."""
    import tifffile

    described = f"Aperio Image Library v12\r\n256x256 [0,0 256x256] (128x128) Q=70|AppMag = 20|MPP = 0.78|User = {NAME}"
    described += f"|Filename = {ACCESSION}|Title = {IDENTITY}|Date = {BIRTH_DATE}"
    with tifffile.TiffWriter(path) as writer:
        options = {"tile": (128, 128), "compression": "jpeg", "photometric": "rgb", "metadata": None}
        tags = [(315, "s", 0, IDENTITY, True), (316, "s", 0, HOSPITAL, True)]
        writer.write(he_pixels(256, 256, seed), description=described, extratags=tags, software=HOSPITAL, **options)
    return path


def picture(path: Path, seed: int) -> Path:
    """A PNG with text chunks and EXIF, or a JPEG with EXIF and a comment."""
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x8298] = IDENTITY  # description, artist, copyright
    image = Image.fromarray(he_pixels(256, 256, seed))
    if path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_text("Title", IDENTITY)
        text.add_itxt("Comment", IDENTITY, zip=True)
        image.save(path, exif=exif, pnginfo=text)
    else:
        image.save(path, quality=95, exif=exif, comment=IDENTITY)
    return path


def _counts(seed: int, observations: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.negative_binomial(2, 0.02, (observations, len(tiny_codec().genes))) + 1).astype(np.float32)


def spots(path: Path, seed: int) -> Path:
    """Spatial counts; the patient stands in obs, var, uns, names of observations and a further layer's name."""
    import anndata as ad
    import pandas as pd

    genes = tiny_codec().genes
    xy = np.stack(np.meshgrid([40.0, 128.0, 216.0], [40.0, 128.0, 216.0]), -1).reshape(-1, 2)
    obs = pd.DataFrame(
        {"patient": IDENTITY, "batch": pd.Categorical([HOSPITAL] * 9)}, index=[f"{NAME}-{i}" for i in range(9)]
    )
    var = pd.DataFrame({"note": f"{IDENTITY}"}, index=list(genes))
    uns = {"patient": {"name": NAME, "born": BIRTH_DATE}, "spatial": {f"{ACCESSION}": {"source": f"/{FOLDER}/{FILE}"}}}
    table = ad.AnnData(_counts(seed, 9), obs=obs, var=var, uns=uns, obsm={"spatial": xy})
    table.layers[HOSPITAL] = table.X.copy()
    table.write_h5ad(path)
    return path


def bulk(path: Path, seed: int, extra: bool = True) -> Path:
    """Counts, two columns; comments above, and (if `extra`) a further column that names the patient."""
    lines = [f"# {IDENTITY}", f"# sample of {NAME}", f"gene,value{f',note on {NAME}' if extra else ''}"]
    for gene, count in zip(tiny_codec().genes, _counts(seed)[0], strict=True):
        lines.append(f"{gene},{count:.0f}" + (f",{IDENTITY}" if extra else ""))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def report(path: Path) -> Path:
    """A pathology report with the patient's letterhead."""
    path.write_text(
        f"{HOSPITAL} Hospital, accession {ACCESSION}\nPatient: {NAME}, {GIVEN_NAME}, born {BIRTH_DATE}\n"
        f"Study {SOURCE_UID}\nBreast, left: {BODY} sign. Invasive ductal carcinoma, grade 2, pT2 pN0.\n",
        encoding="utf-8",
    )
    return path


def rna_table(path: Path, case_ids: list[str]) -> Path:
    """A cohort table with a row a case, and one of somebody who is no case of the sheet."""
    rows = [",".join(["case_id", *tiny_codec().genes])]
    for seed, name in enumerate([*case_ids, f"{NAME}-{ACCESSION}"]):
        rows.append(",".join([name, *(f"{count:.0f}" for count in _counts(seed)[0])]))
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write("\n".join(rows) + "\n")
    return path


def text_table(path: Path, case_ids: list[str]) -> Path:
    """A cohort table of texts with further columns."""
    body = f"Patient {NAME} {GIVEN_NAME}. Colon: {BODY} sign. Adenocarcinoma, grade 3, pT3."
    rows = ["case_id,text,mrn,hospital"]
    rows += [f'{name},"{body}",{ACCESSION},{HOSPITAL}' for name in [*case_ids, f"{NAME}-2"]]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
