"""The inputs of a calibration: small synthetic cohorts, one for each kind of work.

They mean nothing. They lie in a temporary folder that is removed, and their file names and case ids say synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.files import write_json
from mupd.config import Config
from mupd.run.forecast.plan import Units, draw_unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLIDE_PX = 1024
"""Side of the input slides: 800 um, which holds the 32 tiles that are taken of any larger slide too."""

LARGE_SLIDE_PX = 3072
"""Side of the input slide that shows the cost of a megabyte."""

SMALL_PX = 256
LARGE_PX = 1024
"""Sides of the generated slides."""

SEVERAL_CASES = 3


@dataclass(frozen=True)
class Specimen:
    """A small cohort whose cases all have the same modalities.

    Attributes
    ----------
    target
        What is generated; "" if it is only read.
    side_px, slide_px
        Sides of the generated and of the input slides.
    """

    name: str
    given: tuple[str, ...]
    target: str
    cases: int = 1
    side_px: int = SMALL_PX
    slide_px: int = SLIDE_PX


SPECIMENS: tuple[Specimen, ...] = (
    Specimen("slides", ("he",), "", cases=1, slide_px=LARGE_SLIDE_PX),
    Specimen("records", ("he", "rna"), "text"),
    Specimen("profiles", ("he", "text"), "rna", cases=SEVERAL_CASES),
    Specimen("bulk", ("text",), "rna"),
    Specimen("small", ("rna", "text"), "he"),
    Specimen("large", ("rna", "text"), "he", side_px=LARGE_PX),
)
"""In the order of processing: the one that needs most memory comes last."""


def specimen_units(specimen: Specimen) -> Units:
    """Units of the draws of all its cases, one draw per case."""
    units = {draw_unit(specimen.given, specimen.target): float(specimen.cases)}
    if specimen.target == "he":
        units["he_mpix"] = specimen.cases * specimen.side_px**2 / 1e6
    return units


def tissue(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels (side, side, 3), uint8, in the colours of H&E: purple dots in a pink disc on white."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    inside = ((x / side - 0.5) / 0.47) ** 2 + ((y / side - 0.5) / 0.47) ** 2 < 1
    picture = np.full((side, side, 3), (243, 241, 244), np.float32)
    picture[inside] = (222, 150, 195)
    period = 14
    dots = ((x % period - 7) ** 2 + ((y + 5 * (x // period)) % period - 7) ** 2 < 18) & inside
    picture[dots] = (95, 60, 140)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def _write_profile(path: Path, genes: tuple[str, ...], seed: int) -> None:
    import numpy as np

    counts = np.random.default_rng(seed).negative_binomial(2, 0.02, len(genes)) + 1
    rows = "".join(f"{gene}\t{count}\n" for gene, count in zip(genes, counts, strict=True))
    path.write_text("gene\tvalue\n" + rows, encoding="utf-8")


def _write_case(folder: Path, specimen: Specimen, number: int, genes: tuple[str, ...]) -> str:
    from PIL import Image

    name = f"SYN-{specimen.name}-{number}"
    cells = {"he": "", "rna": "", "text": "", "mpp": ""}
    if "he" in specimen.given:
        cells |= {"he": f"{name}.synthetic.png", "mpp": "0.78"}
        Image.fromarray(tissue(specimen.slide_px, number)).save(folder / cells["he"], compress_level=1)
    if "rna" in specimen.given:
        cells["rna"] = f"{name}.synthetic.tsv"
        _write_profile(folder / cells["rna"], genes, number)
    if "text" in specimen.given:
        cells["text"] = f"{name}.synthetic.txt"
        words = "Invasive breast carcinoma of no special type, grade 2, pT2. Margins free of tumour. "
        (folder / cells["text"]).write_text(words * 6 + "\n", encoding="utf-8")
    return "\t".join([name, cells["he"], cells["rna"], cells["text"], cells["mpp"]])


def specimen_config(folder: Path, name: str) -> Path:
    """Path of a specimen's configuration."""
    return folder / name / "config.json"


def write_specimens(folder: Path, config: Config) -> None:
    """Write inputs, sheet and configuration of each specimen, with the model, sampler and file settings of `config`.

    Raises
    ------
    ModelError
        If the model lists no genes.
    """
    from mupd.model_folder.contents import model_genes

    genes = model_genes(Path(config.model))
    for specimen in SPECIMENS:
        own = folder / specimen.name
        own.mkdir(parents=True)
        rows = [_write_case(own, specimen, number, genes) for number in range(specimen.cases)]
        (own / "cases.tsv").write_text("\n".join(["case_id\the\trna\ttext\the_mpp", *rows]) + "\n", encoding="utf-8")
        values: dict[str, Any] = config.to_dict() | {
            "cases": str(own / "cases.tsv"),
            "roots": [],
            "tables": {"rna": None, "text": None},
            "outdir": str(own / "results"),
            "model": str(Path(config.model).resolve()),
            "shards": 1,
            "draws": {"he": 1, "rna": 1, "text": 1},
            "sign": {"key": None, "passphrase_env": config.sign.passphrase_env},
            "stains": [],
            "train": None,
            "on_case_error": "stop",
        }
        values["slide"] |= {"width_px": specimen.side_px, "height_px": specimen.side_px}
        lenient = {"min_tissue_mm2": 0.0, "min_text_words": 1, "min_gene_overlap": 0.0, "min_library_size": 0}
        values["intake"] |= lenient | {"min_detected_fraction": 0.0, "allow_synthetic": ["*"], "rna_values": "counts"}
        values["check"] |= {"min_tissue_fraction": 0.0}
        empty: list[str] = []
        values["expectations"] = {
            "on_failure": "report",
            "suites": dict.fromkeys(values["expectations"]["suites"], empty),
        }
        write_json(specimen_config(folder, specimen.name), values)
