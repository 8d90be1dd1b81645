"""The inputs of a calibration: small synthetic cohorts, one for each kind of work.

They lie in a temporary folder that is removed. Their file names and case ids say that they are synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.files import write_json
from mupd.config import Config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGE_PX = 1024
"""Side of the largest generated slide."""

_TABLE_VALUES = 400_000
"""Values of the RNA table, from which the cost per megabyte is measured."""


@dataclass(frozen=True)
class Specimen:
    """A small cohort whose cases all have the same modalities; what they lack is generated.

    Attributes
    ----------
    side_px, slide_px
        Sides of the generated slides, and of the input slides. Intake takes 32 tiles of a slide of 1024 px (800 um)
        and of any larger one.
    table
        Whether RNA comes from a cohort table.
    """

    name: str
    given: tuple[str, ...]
    cases: int = 1
    draws: int = 1
    steps: int = 2
    side_px: int = 256
    slide_px: int = 1024
    table: bool = False


SPECIMENS: tuple[Specimen, ...] = (
    Specimen("slide", ("he",), slide_px=3072),
    Specimen("record", ("he", "rna")),
    Specimen("record-draws", ("he", "rna"), draws=4),
    Specimen("record-steps", ("he", "rna"), steps=20),
    Specimen("profile", ("he", "text"), cases=3),
    Specimen("profile-draws", ("he", "text"), draws=4),
    Specimen("profile-steps", ("he", "text"), steps=20),
    Specimen("bulk", ("text",)),
    Specimen("bulk-draws", ("text",), draws=3),
    Specimen("bulk-steps", ("text",), steps=8),
    Specimen("small", ("rna", "text")),
    Specimen("table", ("rna", "text"), steps=8, table=True),
    Specimen("large", ("rna", "text"), side_px=LARGE_PX),
)
"""In the order of processing: the one that needs most memory comes last."""

COHORT_SPECIMENS = ("profile", "small")
"""Cohorts of three cases and of one, which show the cost of a case in the cohort stage."""


def tissue(side_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels (side, side, 3), uint8, in the colours of H&E: purple dots in a pink disc on white."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side_px, 0:side_px]
    inside = ((x / side_px - 0.5) / 0.47) ** 2 + ((y / side_px - 0.5) / 0.47) ** 2 < 1
    picture = np.full((side_px, side_px, 3), (243, 241, 244), np.float32)
    picture[inside] = (222, 150, 195)
    period = 14
    dots = ((x % period - 7) ** 2 + ((y + 5 * (x // period)) % period - 7) ** 2 < 18) & inside
    picture[dots] = (95, 60, 140)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def _write_table(path: Path, case_ids: list[str], genes: tuple[str, ...], seed: int) -> None:
    """A table of counts, cases in rows."""
    import numpy as np

    counts = np.random.default_rng(seed).negative_binomial(2, 0.02, (len(case_ids), len(genes))) + 1
    rows = ("\t".join([name, *map(str, row)]) for name, row in zip(case_ids, counts, strict=True))
    path.write_text("\n".join(["\t".join(["case_id", *genes]), *rows]) + "\n", encoding="utf-8")


def _write_case(folder: Path, specimen: Specimen, number: int, genes: tuple[str, ...]) -> str:
    """Write the inputs of a case; returns its row of the sheet."""
    from PIL import Image

    name = f"SYN-{specimen.name}-{number}"
    cells = {"he": "", "rna": "", "text": "", "mpp": ""}
    if "he" in specimen.given:
        cells |= {"he": f"{name}.synthetic.png", "mpp": "0.78"}
        Image.fromarray(tissue(specimen.slide_px, number)).save(folder / cells["he"], compress_level=1)
    if "rna" in specimen.given and not specimen.table:
        cells["rna"] = f"{name}.synthetic.tsv"
        _write_table(folder / cells["rna"], [name], genes, number)
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
        table = own / "table.synthetic.tsv" if specimen.table else None
        if table:
            case_ids = [f"SYN-table-{number}" for number in range(max(8, _TABLE_VALUES // len(genes)))]
            _write_table(table, case_ids, genes, 0)
        values: dict[str, Any] = config.to_dict() | {
            "cases": str(own / "cases.tsv"),
            "roots": [],
            "tables": {"rna": table and str(table), "text": None},
            "outdir": str(own / "results"),
            "model": str(Path(config.model).resolve()),
            "shards": 1,
            "draws": dict.fromkeys(("he", "rna", "text"), specimen.draws),
            "sign": {"key": None, "passphrase_env": config.sign.passphrase_env},
            "stains": [],
            "train": None,
            "on_case_error": "stop",
        }
        values["sampler"] |= {"steps": specimen.steps}
        values["slide"] |= {"width_px": specimen.side_px, "height_px": specimen.side_px}
        lenient = {"min_tissue_mm2": 0.0, "min_text_words": 1, "min_gene_overlap": 0.0, "min_library_size": 0}
        values["intake"] |= lenient | {"min_detected_fraction": 0.0, "allow_synthetic": ["*"], "rna_values": "counts"}
        values["check"] |= {"min_tissue_fraction": 0.0}
        no_files: list[str] = []
        values["expectations"] = {
            "on_failure": "report",
            "suites": dict.fromkeys(values["expectations"]["suites"], no_files),
        }
        write_json(specimen_config(folder, specimen.name), values)
