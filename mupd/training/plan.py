"""The training configuration of a model, and what its parts share."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mupd.config.faults import read_yaml, validated
from mupd.config.section import section
from mupd.errors import Fault, InputFaults, ModelError
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.presets import preset
from mupd.model.rna_codec import RnaCodec
from mupd.model.transformer import TARGETS, Target
from mupd.model_folder.contents import read_json_file
from mupd.training.public.read import HELD_OUT_SECTION
from mupd.training.public.spots import RawFeatures, Spots, read_spots
from mupd.training.settings import DataSettings, Name, Positive, TargetSettings, TrunkSettings, VaeSettings

_PUBLIC = ("her2st", "tcga", "tiles")
_SPLITS = {"text": 2, "pathways": 4, "rna": 8}
NetworkSize = dict[str, int | bool | dict[str, int]]
"""Arguments of :class:`~mupd.model.transformer.MuPDTransformer` that set its size."""


def read_size(folder: Path, keys: tuple[str, ...]) -> NetworkSize:
    """The values of some keys in the config.json of a transformer folder.

    Raises
    ------
    ModelError
        If there is no such file.
    """
    config = read_json_file(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelError(f"{folder}: found no config.json; expected a MuPDTransformer to take the size from")
    return {key: config[key] for key in keys if key in config}


@section
class Plan:
    """A training configuration.

    Attributes
    ----------
    base
        Model folder whose codecs (RNA, pathways, tiles, autoencoder, records) are taken over.
    gene_sets
        GMT file of the pathways whose scores are conditions.
    start
        Folder of a transformer whose weights the trunk starts from, where names and shapes agree.
    history
        Remarks on the training for the model card.
    """

    name: Name
    data: DataSettings
    work: Path
    out: Path
    sections: Annotated[tuple[str, ...], Field(min_length=1)] = ("B4", "C2", "C3", "C4")
    rna_components: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = 64
    tile_components: Annotated[int, Field(ge=2, le=1024)] = 128
    threads: Positive = 2
    gene_sets: Path = Path("resources/gene_sets/mupd.gmt")
    base: Path | None = None
    start: Path | None = None
    history: str = ""
    vae: VaeSettings = Field(default_factory=VaeSettings)
    trunk: TrunkSettings = Field(default_factory=TrunkSettings)

    @property
    def public(self) -> bool:
        """Whether public data are trained on."""
        return self.data.her2st is not None

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

    def _public(self, name: Literal["her2st", "tcga", "tiles"]) -> Path:
        folder: Path | None = getattr(self.data, name)
        if folder is None:
            fault = Fault(f"[data.{name}]", "nothing", "a folder: this part of the training needs it")
            raise InputFaults(f"training configuration of {self.name}", [fault])
        return folder

    def network(self) -> NetworkSize:
        """Size of the trunk and tokens per vector: of its preset or the base's trunk, and the sizes set beside it."""
        trunk = self.trunk
        size: NetworkSize = dict(preset(trunk.preset or "mini"))
        if trunk.preset is None and self.base is not None:
            size = read_size(self.base / "transformer", (*size, "own_modulation", "splits", "rna_tokens"))
        own = {"width": trunk.width, "depth": trunk.depth, "heads": trunk.heads, "stem_width": trunk.stem_width}
        return {"splits": _SPLITS} | size | {key: number for key, number in own.items() if number is not None}

    def targets(self) -> dict[Target, TargetSettings]:
        """The targets that are trained, in the order of the model."""
        return {target: self.trunk.targets[target] for target in TARGETS if target in self.trunk.targets}

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

    def spots(self, name: str) -> Spots:
        """A section with picture, spots and RNA."""
        return read_spots(self.her2st, name, self.codec, self.scorer)


def _file_faults(values: object, where: str) -> list[Fault]:
    """Data that are not there, and the section that must stay unseen; of values that may be wrong otherwise."""
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(data, dict):
        return []
    faults = []
    named = [name for name in _PUBLIC if data.get(name) is not None]
    if named and len(named) < len(_PUBLIC):
        faults.append(Fault(f"{where} [data]", f"only {', '.join(named)}", f"all of {', '.join(_PUBLIC)}, or none"))
    if not named and data.get("cohort") is None:
        faults.append(Fault(f"{where} [data]", "no data", f"{', '.join(_PUBLIC)}, a cohort, or both"))
    folders = {f"data.{name}": data[name] for name in named} | {key: values.get(key) for key in ("base", "start")}
    faults += [
        Fault(f"{where} [{key}]", f"no folder {folder}", "a folder")
        for key, folder in folders.items()
        if isinstance(folder, str) and not Path(folder).is_dir()
    ]
    cohort = data.get("cohort")
    configfile = cohort.get("configfile") if isinstance(cohort, dict) else None
    if isinstance(configfile, str) and not Path(configfile).is_file():
        faults.append(Fault(f"{where} [data.cohort.configfile]", f"no file {configfile}", "a run configuration"))
    return faults + _section_faults(values.get("sections", Plan.sections), data.get("her2st"), where)


def _section_faults(sections: object, her2st: object, where: str) -> list[Fault]:
    if not isinstance(sections, list | tuple):
        return []
    faults = []
    if HELD_OUT_SECTION in sections:
        expected = "sections without it: the model's figures are measured on it"
        faults.append(Fault(f"{where} [sections]", HELD_OUT_SECTION, expected))
    if isinstance(her2st, str) and Path(her2st).is_dir():
        for name in dict.fromkeys((*sections, HELD_OUT_SECTION)):
            picture = Path(her2st) / "images" / f"{name}.jpg"
            if not picture.is_file():
                faults.append(Fault(f"{where} [sections]", f"no {picture}", "a picture of every section"))
    return faults


def load_plan(path: Path) -> Plan:
    """Read and validate a training configuration.

    Raises
    ------
    InputFaults
        With every fault at once, data folders that do not exist among them.
    """
    what = "training configuration"
    values = read_yaml(path, what)
    plan, faults = validated(Plan, values, str(path))
    faults += _file_faults(values, str(path))
    if plan is None or faults:
        raise InputFaults(f"{what} {path}", faults)
    return plan
