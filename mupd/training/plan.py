"""The training configuration of a model, and what its parts share."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mupd.config.faults import read_yaml, validated
from mupd.errors import Fault, InputFaults, ModelError
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.presets import preset
from mupd.model.rna_codec import RnaCodec
from mupd.model.transformer import TARGETS, Target
from mupd.model_folder.contents import read_json_file
from mupd.training.public.he_batches import TileBalance
from mupd.training.public.read import HELD_OUT_SECTION
from mupd.training.public.spots import RawFeatures, Spots, read_spots
from mupd.training.settings import AlignSettings, LoopSettings, Name, Positive, TargetSettings, settings

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


@settings
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
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    windows: Positive = 512


@settings
class DataSettings:
    """What is trained on: the three public sets, a cohort, or both.

    Attributes
    ----------
    her2st, tcga, tiles
        Folders of the public data: all three or none.
    tile_share, tile_balance
        Share of the public H&E windows that are tiles, and how often each tile is drawn.
    tile_reports
        Whether real reports are among the texts of tiles.
    """

    her2st: Path | None = None
    tcga: Path | None = None
    tiles: Path | None = None
    tile_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    tile_balance: TileBalance = "classes"
    tile_reports: bool = False
    cohort: CohortSettings | None = None


@settings
class VaeSettings(LoopSettings):
    """Training of the autoencoder.

    Attributes
    ----------
    finish_steps, finish_noise
        Steps in which the decoder alone is refined, and the largest noise on the latents in them.
    """

    batch_size: Positive = 16
    finish_steps: Annotated[int, Field(ge=0)] = 0
    finish_noise: Annotated[float, Field(ge=0, le=1)] = 0.15


def _all_targets() -> dict[Target, TargetSettings]:
    return {
        "he": TargetSettings(32),
        "rna": TargetSettings(128, every=2, dropout=0.1),
        "text": TargetSettings(128, every=8, dropout=0.3),
    }


@settings
class TrunkSettings(LoopSettings):
    """Size and training of the trunk.

    Attributes
    ----------
    preset
        Named size. None = that of the base's trunk or, without a base, mini.
    width, depth, heads, stem_width
        Instead of those of the preset.
    """

    preset: Literal["mini", "S", "B", "L", "XL"] | None = None
    width: Annotated[int, Field(ge=32, multiple_of=32)] | None = None
    depth: Positive | None = None
    heads: Positive | None = None
    stem_width: Annotated[int, Field(ge=8, multiple_of=8)] | None = None
    align: AlignSettings | None = None
    targets: Annotated[dict[Target, TargetSettings], Field(min_length=1)] = Field(default_factory=_all_targets)


@settings
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
