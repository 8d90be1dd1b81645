"""The whole corpus as a cohort: one case per item, with usable cases between them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mupd.config import Config, parse_config
from mupd.contracts.inventory import CaseInventory
from tests.fixtures.basic import GENES, he_pixels
from tests.fixtures.reports import REPORT
from tests.hostile.item import Hostile
from tests.hostile.profiles import hostile_profiles, table
from tests.hostile.reports import hostile_reports
from tests.hostile.slides import hostile_slides

EVERY = 10
"""After every so many hostile cases there is a complete one, which must remain complete."""

LIMITS = {"file_seconds": 30, "file_mb": 1024}


@dataclass(frozen=True)
class Corpus:
    """A cohort of hostile inputs, by case id."""

    config: Config
    items: dict[str, Hostile]

    def faults(self, cases: list[CaseInventory]) -> list[str]:
        """Every entry that differs from what it must be."""
        faults = []
        for case in cases:
            if item := self.items.get(case.case_id):
                entry = case.entries[item.modality]
                faults += [item.fault(entry)]
                if str(self.config.out.parent) in entry.reason:
                    faults.append(f"{item.what}: the reason names a path: {entry.reason}")
            else:
                faults += [f"{case.case_id}: {m} {e.status} ({e.reason})" for m, e in case.entries.items() if e.reason]
        return [fault for fault in faults if fault]


def all_items(folder: Path) -> list[Hostile]:
    """The items of all modalities."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*hostile_slides(folder), *hostile_profiles(folder), *hostile_reports(folder)]


def make_corpus(folder: Path) -> Corpus:
    """Write every item below a folder, with a sheet and a configuration."""
    items = all_items(folder / "made")
    model = folder / "model"
    model.mkdir()
    (model / "genes.json").write_text(json.dumps(list(GENES)))
    Image.fromarray(he_pixels()).save(folder / "fine.png")
    (folder / "fine.csv").write_bytes(table())
    (folder / "fine.txt").write_text(REPORT)
    lines = ["case_id\the\trna\ttext\the_mpp"]
    by_id: dict[str, Hostile] = {}
    for number, item in enumerate(items):
        name = f"h{number:03d}"
        by_id[name] = item
        # A folder per case, because files beside a DICOM slide may belong to it.
        (folder / name).mkdir()
        item.write(folder / name / f"input{item.suffix}")
        cells = [
            f"{name}/input{item.suffix}" if item.modality == modality else "" for modality in ("he", "rna", "text")
        ]
        lines.append("\t".join([name, *cells, item.mpp]))
        if number % EVERY == 0:
            lines.append(f"fine{number:03d}\tfine.png\tfine.csv\tfine.txt\t0.78")
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    values = {"cases": str(folder / "cases.tsv"), "outdir": str(folder / "out"), "model": str(model), "shards": 3}
    return Corpus(parse_config(values | {"intake": LIMITS}, "hostile"), by_id)
