"""``python -m benchmarks.intake.real [--docs docs/intake.md]``: what intake says of the real inputs in shared/data."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.command import REPOSITORY, add_data, add_docs, parser_of
from benchmarks.pages import fill, table
from mupd.base.ids import MODALITIES
from mupd.config import Config, parse_config
from mupd.contracts.inventory import Entry

START, END = "<!-- real inputs: begin -->", "<!-- real inputs: end -->"
_TCGA_MPP = {"TCGA-BL-A3JM": 0.5, "TCGA-AD-6964": 0.5, "TCGA-3M-AB46": 0.5}
_MONUSEG_MPP = 0.25


def _tcga(data: Path) -> list[dict[str, str]]:
    """The nine patients with a picture; RNA and report are rows of their cohort's tables."""
    import pandas as pd

    rows_of = {
        (cohort, kind): set(pd.read_csv(data / f"tcga/{cohort}_{name}.csv.gz", usecols=[0]).iloc[:, 0].astype(str))
        for cohort in ("blca", "coadread", "stad")
        for kind, name in (("rna", "log2tpm"), ("text", "reports"))
    }
    pictures: dict[str, list[Path]] = {}
    for path in sorted((data / "tcga" / "he").iterdir()):
        pictures.setdefault(path.name[:12], []).append(path)
    rows = []
    for patient, slides in pictures.items():
        row = {"case_id": patient, "he": ";".join(map(str, slides))}
        row["he_mpp"] = str(_TCGA_MPP.get(patient, _MONUSEG_MPP))
        for (cohort, kind), ids in rows_of.items():
            if patient in ids:
                table = data / "tcga" / f"{cohort}_{'log2tpm' if kind == 'rna' else 'reports'}.csv.gz"
                row[kind] = f"{table}::{patient}"
        rows.append(row)
    return rows


def sheet_rows(data: Path) -> list[dict[str, str]]:
    """A case for each input, or for each patient with several."""
    rows = []
    for picture in sorted((data / "her2st" / "images").glob("*.jpg")):
        counts = data / "her2st" / "counts" / f"{picture.stem}.tsv.gz"
        rows.append({"case_id": f"HER2ST-{picture.stem}", "he": str(picture), "he_mpp": "0.78", "rna": str(counts)})
    rows += _tcga(data)
    rows.append({"case_id": "CMU-1-Small-Region", "he": str(data / "slides" / "CMU-1-Small-Region.svs")})
    rows += [{"case_id": f"dicom-{path.stem}", "he": str(path)} for path in sorted((data / "dicom").glob("*.dcm"))]
    formats = data / "formats"
    rows.append({"case_id": "small_vectra", "he": str(formats / "fluorescence" / "small_vectra.qptiff")})
    for path in sorted(formats.rglob("*.h5")):
        rows.append({"case_id": "-".join(path.relative_to(formats).with_suffix("").parts), "rna": str(path)})
    return rows


def config_of(folder: Path, data: Path) -> Config:
    """Sheet and configuration of these cases, in a scratch folder."""
    columns = ("case_id", "he", "rna", "text", "he_mpp")
    lines = ["\t".join(columns), *("\t".join(row.get(name, "") for name in columns) for row in sheet_rows(data))]
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = REPOSITORY / "resources" / "models" / "mupd-mini"
    values = {
        "cases": str(folder / "cases.tsv"),
        "outdir": str(folder / "out"),
        "model": str(model),
        "roots": [str(data)],
    }
    return parse_config(values, "real inputs")


def _words(entry: Entry) -> str:
    if entry.status != "unusable":
        return entry.status
    reason = entry.reason.replace(entry.source.rsplit("::", 1)[0] or "\0", "the input").replace("|", "/")
    return f"unusable: {reason if len(reason) < 160 else reason[:157] + '...'}"


def inventory_table(data: Path, jobs: int) -> str:
    """The inventory as a table in Markdown."""
    from mupd.stages.intake import status_rows

    with tempfile.TemporaryDirectory() as name:
        cases = status_rows(config_of(Path(name), data), jobs)
    rows = [
        (case.sheet_id or case.case_id, *(_words(case.entries[modality]) for modality in MODALITIES)) for case in cases
    ]
    counts = Counter(entry.status for case in cases for entry in case.entries.values())
    sums = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    return f"{table(('case', 'H&E', 'RNA', 'text'), rows)}\n\n{sums}"


def main() -> None:
    parser = parser_of("intake.real", __doc__ or "")
    add_data(parser, "her2st/, tcga/, slides/, dicom/ and formats/")
    parser.add_argument("--jobs", type=int, default=2)
    add_docs(parser)
    options = parser.parse_args()
    text = inventory_table(options.data.resolve(), options.jobs)
    print(text)
    if options.docs:
        fill(options.docs, {(START, END): text})


if __name__ == "__main__":
    main()
