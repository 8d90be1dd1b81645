"""``python -m benchmarks.organs``: H&E from the text of organs, judged by real tiles that were held back."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command import add_data, add_docs, add_model, exit_code_of, parser_of
from benchmarks.pages import Marks, fill
from mupd.base.files import write_json
from mupd.errors import MupdError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.organs.data import Windows
    from benchmarks.organs.made import Maker

PARTS = ("judge", "distance", "augment", "picture", "losses")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "organs",
        "Generate H&E windows from the texts of tiles that were held back, and compare them with these "
        "tiles: by a classifier of real tiles, by distances in its features, and as additional training data. "
        "Generated windows are kept in the work folder, so that a second run is quick.",
    )
    add_model(parser)
    add_data(parser, "he_tiles/, tcga/ and her2st/")
    parser.add_argument("--work", type=Path, default=Path("training/organs"), help="folder for what is generated")
    parser.add_argument(
        "--split", choices=("held_out", "validation"), default="held_out", help="groups that are compared with"
    )
    parser.add_argument("--each", type=int, default=64, help="windows of each organ that are compared (default 64)")
    parser.add_argument("--synthetic", type=int, default=50, help="generated windows a class for training (default 50)")
    parser.add_argument("--reports", type=int, default=24, help="reports of each cohort (default 24)")
    parser.add_argument("--slide", type=Path, help="DICOM folder of EX-05's H&E from a run of the example, judged too")
    parser.add_argument("--seeds", type=int, default=10, help="draws of ten real tiles a class (default 10)")
    parser.add_argument("--steps", type=int, default=20, help="steps of the sampler (default 20)")
    parser.add_argument("--guidance", type=float, help="guidance of the text (default: that of a run)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="this part; may be repeated")
    add_docs(parser)
    parser.add_argument("--pictures", type=Path, help="write organs.png and organs_EX-05.png into this folder")
    return parser


def marks(name: str) -> Marks:
    """The lines of a page between which a part's table stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def _augment(options: argparse.Namespace, maker: Maker) -> str:
    from benchmarks.organs.augment import Task, classes_of, compare, oriented
    from benchmarks.organs.data import centres, read_table
    from benchmarks.organs.table import task_table

    table = read_table(options.data / "he_tiles")
    train, test = centres(table[table["split"] == "train"]), centres(table[table["split"] != "train"])
    classes = classes_of(train, test)
    usable = [index for index, label in enumerate(train.labels) if label in classes]
    train = train.of(_rows(usable))
    rows = maker.features(train.pixels)
    turned = maker.features(oriented(train.pixels)).reshape(8, len(train), -1)
    made: dict[str, NDArray[np.float32]] = {}
    for label in classes:
        texts = sorted(set(train.texts[train.labels == label]))
        cycle = [texts[number % len(texts)] for number in range(options.synthetic)]
        made[label] = maker.features(maker.windows("class", cycle, seed=1))
    held = test, maker.features(test.pixels)
    lung = tuple(label for label in classes if label.startswith("lung"))
    tasks: list[Task] = [
        compare(name, some, (train, rows), turned, made, held, options.seeds)
        for name, some in (("Diagnoses of the lung", lung), ("Classes of all organs", classes))
    ]
    write_json(maker.folder / "augment.json", [asdict(task) for task in tasks])
    return "\n\n".join(task_table(task) for task in tasks)


def _rows(indices: list[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.array(indices, np.int64)


def _losses(options: argparse.Namespace, maker: Maker, held: Windows) -> str:
    from benchmarks.organs.losses import of_patients, rna_to_he, text_to_he
    from benchmarks.organs.table import loss_table

    pipeline = maker.pipeline
    rows = text_to_he(pipeline, held)
    rows += of_patients(pipeline, options.data / "tcga")
    rows.append(rna_to_he(pipeline, options.data / "her2st", "C4", 160))
    return loss_table(rows)


def _pictures(options: argparse.Namespace, maker: Maker, held: Windows, made: NDArray[np.uint8]) -> None:
    from benchmarks.organs.picture import write_picture

    options.pictures.mkdir(parents=True, exist_ok=True)
    write_picture(options.pictures / "organs.png", held, made, maker.pipeline.model_id)


def run(options: argparse.Namespace) -> None:
    """Everything that was asked for.

    Raises
    ------
    MupdError
        If the model, the data or the place for the tables are not there.
    """
    import torch

    from benchmarks.organs.data import cut, held_windows, tables
    from benchmarks.organs.distance import distances
    from benchmarks.organs.judge import fit_classifier, judge
    from benchmarks.organs.made import Maker
    from benchmarks.organs.picture import write_case
    from benchmarks.organs.reports import from_case, from_reports, from_slide
    from benchmarks.organs.table import distance_table, said_table, verdict_table
    from mupd.model.pipeline import MuPDPipeline

    if not (options.data / "he_tiles" / "tiles.csv").is_file():
        raise MupdError(f"{options.data}: found no he_tiles/tiles.csv; expected the public H&E tiles")
    torch.set_num_threads(options.threads)
    wanted = options.only or PARTS
    maker = Maker(MuPDPipeline.from_pretrained(options.model), options.work, options.steps, options.guidance)
    split = tables(options.data / "he_tiles", [options.split])
    held = held_windows(split.held, options.each)
    written: dict[str, str] = {}
    facts: dict[str, Any] = {"model": maker.pipeline.model_id, "split": options.split}
    if "losses" in wanted:
        written["losses"] = _losses(options, maker, held)
    if set(wanted) - {"losses", "augment"}:
        made = maker.windows(f"tiles-{options.split}", list(held.texts), seed=0)
        train = cut(split.train, 6)
        train_rows, held_rows, made_rows = (maker.features(rows) for rows in (train.pixels, held.pixels, made))
    if "judge" in wanted:
        classifier = fit_classifier(train_rows, train.labels, train.groups)
        verdicts, _ = judge(classifier, held, held_rows, made_rows)
        written["judge"] = verdict_table(verdicts, split.trained_on)
        said = from_reports(maker, classifier, options.data / "tcga", options.split, options.reports)
        case, regions = from_case(maker, classifier, Path("resources/example/EX-05.txt"), "lung", 2)
        said.append(case)
        if options.slide:
            said.append(from_slide(maker, classifier, options.slide, "lung"))
        written["texts"] = said_table(said)
        facts["judge"] = [asdict(row) for row in verdicts] + [asdict(row) for row in said]
        if options.pictures:
            write_case(options.pictures / "organs_EX-05.png", regions, "EX-05", maker.pipeline.model_id)
    if "distance" in wanted:
        rows = distances(held, held_rows, made_rows, train, train_rows)
        written["distance"] = distance_table(rows, split.trained_on)
        facts["distance"] = [asdict(row) for row in rows]
    if "augment" in wanted:
        written["augment"] = _augment(options, maker)
    if "picture" in wanted and options.pictures:
        _pictures(options, maker, held, made)
    write_json(maker.folder / f"figures-{options.split}.json", facts)
    print(json.dumps({"model": maker.pipeline.model_id, "weights": maker.folder.name, "split": options.split}))
    for name, table in written.items():
        print(f"\n{name}\n{table}")
    if options.docs:
        fill(options.docs, {marks(name): table for name, table in written.items() if name != "losses"})


def main() -> None:
    """Entry point."""
    sys.exit(exit_code_of(run, _parser().parse_args()))


if __name__ == "__main__":
    main()
