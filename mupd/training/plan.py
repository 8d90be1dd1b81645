"""A training configuration: validated, typed, and what several parts share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mupd.config import load_schema, schema_faults, with_defaults
from mupd.errors import Fault, InputFaults, ModelError
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.presets import preset
from mupd.model.rna_codec import RnaCodec
from mupd.model.transformer import TARGETS, Target
from mupd.model_folder.contents import read_json_file
from mupd.training.align import AlignSettings
from mupd.training.he_batches import TileBalance
from mupd.training.loop import LoopSettings
from mupd.training.prepare import RawFeatures, Spots, read_spots
from mupd.training.sources import HELD_OUT_SECTION
from mupd.training.train_trunk import TargetSettings

_PUBLIC = ("her2st", "tcga", "tiles")
_SPLITS = {"text": 2, "pathways": 4, "rna": 8}


def read_size(folder: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """What a transformer folder's config.json says of some keys.

    Raises
    ------
    ModelError
        If there is no such file.
    """
    config = read_json_file(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelError(f"{folder}: found no config.json; expected a MuPDTransformer to take the size from")
    return {key: config[key] for key in keys if key in config}


@dataclass(frozen=True)
class CohortSettings:
    """A user's own cohort as training data.

    Attributes
    ----------
    configfile
        Run configuration with the sample sheet.
    share
        Of the samples of a batch, where public data are given too.
    windows
        Most windows of a slide.
    """

    configfile: Path
    share: float
    windows: int


@dataclass(frozen=True)
class Plan:
    """A validated training configuration and what several parts share.

    Attributes
    ----------
    public
        Folders of the public data: ``her2st``, ``tcga`` and ``tiles``, or none.
    tile_share, tile_balance
        Share of the public H&E windows that are tiles, and how often each tile is drawn.
    tile_reports
        Whether real reports are among the texts of tiles.
    cohort
        The user's own cases.
    base
        Model folder whose codecs (RNA, pathways, tiles, autoencoder, records) are taken over.
    align
        Alignment of the trunk's features to an encoder.
    gene_sets
        GMT file of the pathways whose scores are conditions.
    start
        Folder of a transformer whose weights the trunk starts from, where names and shapes agree.
    history
        What the model card says of the training beside its settings.
    """

    name: str
    public: dict[str, Path]
    tile_share: float
    tile_balance: TileBalance
    tile_reports: bool
    cohort: CohortSettings | None
    base: Path | None
    gene_sets: Path
    work: Path
    out: Path
    sections: tuple[str, ...]
    rna_components: int
    tile_components: int
    threads: int
    start: Path | None
    history: str
    parts: dict[str, dict[str, Any]]

    @property
    def her2st(self) -> Path:
        """Folder of HER2ST."""
        return self._public("her2st")

    @property
    def tcga(self) -> Path:
        """Folder of the TCGA tables."""
        return self._public("tcga")

    @property
    def tiles(self) -> Path:
        """Folder of H&E tiles."""
        return self._public("tiles")

    def _public(self, name: str) -> Path:
        if name not in self.public:
            fault = Fault(f"[data.{name}]", "nothing", "a folder: this part of the training needs it")
            raise InputFaults(f"training configuration of {self.name}", [fault])
        return self.public[name]

    @property
    def align(self) -> AlignSettings | None:
        """How the trunk's features are aligned to an encoder's."""
        given = self.parts["trunk"]["align"]
        return None if given is None else AlignSettings(**given)

    def settings(self, part: str) -> LoopSettings:
        """Loop settings of a part; what is not given has its default."""
        known = {field.name for field in fields(LoopSettings)}
        given = {key: value for key, value in self.parts[part].items() if key in known}
        return LoopSettings(**({"steps": 1000} | given))

    def network(self) -> dict[str, Any]:
        """Size of the trunk and tokens a vector: of its preset, or of the base's trunk, and what is given beside it."""
        trunk = self.parts["trunk"]
        given = {key: trunk[key] for key in ("width", "depth", "heads", "stem_width") if key in trunk}
        size = preset(trunk["preset"] or "mini")
        if trunk["preset"] is None and self.base is not None:
            size = read_size(self.base / "transformer", (*size, "own_modulation", "splits", "rna_tokens"))
        return {"splits": _SPLITS} | size | given

    def targets(self) -> dict[Target, TargetSettings]:
        """How each target takes part in the training of the trunk."""
        given = self.parts["trunk"]["targets"]
        return {target: TargetSettings(**given[target]) for target in TARGETS if target in given}

    @cached_property
    def codec(self) -> RnaCodec:
        """The RNA codec that the part ``codecs`` has written."""
        return RnaCodec.from_pretrained(self.out / "rna_codec")

    @cached_property
    def scorer(self) -> PathwayScorer:
        """The pathway scorer that the part ``codecs`` has written."""
        return PathwayScorer.from_pretrained(self.out / "pathways")

    @cached_property
    def raw(self) -> RawFeatures:
        """Backbone features of training tiles, kept in the work folder."""
        return RawFeatures(self.work / "features")

    def spots(self, names: tuple[str, ...]) -> list[Spots]:
        """Sections with pictures, spots and RNA."""
        return [read_spots(self.her2st, name, self.codec, self.scorer) for name in names]


def _data_faults(values: Any, where: str) -> list[Fault]:
    """Data folders and sections that are not there, and the section that must stay unseen."""
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(data, dict):
        return []
    known = load_schema("train")["properties"]
    folders = {key: Path(data[key]) for key in _PUBLIC if isinstance(data.get(key), str)}
    folders |= {key: Path(values[key]) for key in ("base", "start") if isinstance(values.get(key), str)}
    faults = [
        Fault(f"{where} [{f'data.{key}' if key in _PUBLIC else key}]", f"no folder {folder}", "a folder")
        for key, folder in folders.items()
        if not folder.is_dir()
    ]
    cohort = data.get("cohort")
    configfile = cohort.get("configfile") if isinstance(cohort, dict) else None
    if isinstance(configfile, str) and not Path(configfile).is_file():
        faults.append(Fault(f"{where} [data.cohort.configfile]", f"no file {configfile}", "a run configuration"))
    sections = values.get("sections", known["sections"]["default"])
    if not isinstance(sections, list):
        return faults
    if HELD_OUT_SECTION in sections:
        expected = "sections without it: the model's figures are measured on it"
        faults.append(Fault(f"{where} [sections]", HELD_OUT_SECTION, expected))
    if "her2st" in folders and folders["her2st"].is_dir():
        for name in (*sections, HELD_OUT_SECTION):
            picture = folders["her2st"] / "images" / f"{name}.jpg"
            if not picture.is_file():
                faults.append(Fault(f"{where} [sections]", f"no {picture}", "a picture of every section"))
    return faults


def load_plan(path: Path) -> Plan:
    """Read and validate a training configuration.

    Raises
    ------
    InputFaults
        With every fault at once; data folders that are not there are faults too.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputFaults(f"training configuration {path}", [Fault(str(path), reason, "a YAML file")]) from error
    schema = load_schema("train")
    faults = schema_faults(values, schema, str(path)) + _data_faults(values, str(path))
    if faults:
        raise InputFaults(f"training configuration {path}", faults)
    filled = with_defaults(values, schema)
    cohort = filled["data"].get("cohort")
    return Plan(
        name=filled["name"],
        public={name: Path(filled["data"][name]) for name in _PUBLIC if name in filled["data"]},
        tile_share=filled["data"]["tile_share"],
        tile_balance=filled["data"]["tile_balance"],
        tile_reports=filled["data"]["tile_reports"],
        cohort=None if cohort is None else CohortSettings(**(cohort | {"configfile": Path(cohort["configfile"])})),
        base=None if filled["base"] is None else Path(filled["base"]),
        gene_sets=Path(filled["gene_sets"]),
        work=Path(filled["work"]),
        out=Path(filled["out"]),
        sections=tuple(filled["sections"]),
        rna_components=filled["rna_components"],
        tile_components=filled["tile_components"],
        threads=filled["threads"],
        start=None if filled["start"] is None else Path(filled["start"]),
        history=filled["history"],
        parts={part: filled[part] for part in ("vae", "trunk")},
    )
