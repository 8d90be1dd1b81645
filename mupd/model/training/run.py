"""``mupd train``: the parts of a model in the order in which they need each other."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mupd.config import load_schema, schema_faults
from mupd.errors import Fault, InputFaults, MupdError
from mupd.files import write_json
from mupd.model.encoders import TEXT_DIM, TileEncoder, fit_projection
from mupd.model.pipeline import MuPDPipeline
from mupd.model.record_codec import RECORD_DIM
from mupd.model.rna_codec import RnaCodec
from mupd.model.training.loop import LoopSettings, was_stopped
from mupd.model.training.prepare import (
    RawFeatures,
    Spots,
    fit_rna_codec,
    is_held_out,
    read_spots,
)
from mupd.model.training.sources import HELD_OUT_SECTION, read_tiles
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE

PARTS = ("codecs", "vae", "he", "rna", "text", "metrics")


@dataclass(frozen=True)
class Plan:
    """A validated training configuration and what several parts share."""

    name: str
    her2st: Path
    tcga: Path
    tiles: Path
    work: Path
    out: Path
    sections: tuple[str, ...]
    rna_components: int
    tile_components: int
    threads: int
    parts: dict[str, dict[str, Any]]

    def settings(self, part: str) -> LoopSettings:
        """Loop settings of a part; what is not given has its default."""
        known = {field.name for field in fields(LoopSettings)}
        given = {key: value for key, value in self.parts[part].items() if key in known}
        return LoopSettings(**({"steps": 1000} | given))

    def network(self, part: str) -> dict[str, Any]:
        """Size of a part's transformer, where given."""
        return {
            key: self.parts[part][key] for key in ("width", "depth", "dropout", "stem_width") if key in self.parts[part]
        }

    def batch_size(self, part: str, default: int) -> int:
        """Samples a step."""
        return int(self.parts[part].get("batch_size", default))

    @cached_property
    def codec(self) -> RnaCodec:
        """The RNA codec that the part ``codecs`` has written."""
        return RnaCodec.from_pretrained(self.out / "rna_codec")

    @cached_property
    def raw(self) -> RawFeatures:
        """Backbone features of training tiles, kept in the work folder."""
        return RawFeatures(self.work / "features")

    def spots(self, names: tuple[str, ...]) -> list[Spots]:
        """Sections with pictures, spots and RNA."""
        return [read_spots(self.her2st, name, self.codec) for name in names]


def _data_faults(values: Any, where: str) -> list[Fault]:
    """Data folders and sections that are not there, and the section that must stay unseen."""
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(data, dict):
        return []
    known = load_schema("train")["properties"]
    folders = {key: Path(data[key]) for key in known["data"]["properties"] if isinstance(data.get(key), str)}
    faults = [
        Fault(f"{where} [data.{key}]", f"no folder {folder}", "a folder")
        for key, folder in folders.items()
        if not folder.is_dir()
    ]
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
    filled = {key: part["default"] for key, part in schema["properties"].items() if "default" in part} | values
    return Plan(
        name=filled["name"],
        her2st=Path(filled["data"]["her2st"]),
        tcga=Path(filled["data"]["tcga"]),
        tiles=Path(filled["data"]["tiles"]),
        work=Path(filled["work"]),
        out=Path(filled["out"]),
        sections=tuple(filled["sections"]),
        rna_components=filled["rna_components"],
        tile_components=filled["tile_components"],
        threads=filled["threads"],
        parts={part: filled[part] for part in ("vae", "he", "rna", "text")},
    )


def _codecs(plan: Plan) -> None:
    fit_rna_codec(plan.her2st, plan.tcga, plan.rna_components).save_pretrained(plan.out / "rna_codec")
    raw = [rows for section in plan.spots(plan.sections) for rows in plan.raw.spots(section)]
    table = read_tiles(plan.tiles)
    trained = np.array([not is_held_out(str(group)) for group in table["group"]])
    raw.append(plan.raw.organs(table)[trained])
    fit_projection(np.concatenate(raw), plan.tile_components).save_pretrained(plan.out / "tile_encoder")


def _vae(plan: Plan) -> None:
    from mupd.model.training.train_vae import CropSampler, train_vae

    sampler = CropSampler(plan.her2st, list(plan.sections), plan.tiles, 0.25)
    model = MuPDVAE()
    train_vae(model, sampler, plan.settings("vae"), plan.work / "vae", plan.out / "vae", plan.batch_size("vae", 16))


def _he(plan: Plan) -> None:
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_he import HePairs, train_he

    pairs = HePairs(plan.spots(plan.sections), plan.tiles, TextEncoder())
    preview = plan.spots((HELD_OUT_SECTION,))[0]
    vae = MuPDVAE.from_pretrained(plan.out / "vae")
    streams = {"rna": plan.codec.dim + 1, "text": TEXT_DIM}
    model = MuPDTransformer(
        "he", streams, {"rna": 8, "text": 2}, channels=vae.config["latent_channels"], **plan.network("he")
    )
    ema = train_he(model, vae, pairs, preview, plan.settings("he"), plan.work / "he", plan.batch_size("he", 32))
    _save(model, ema, plan.out / "transformer_he")


def _rna(plan: Plan) -> None:
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_he import HER2ST_TEXTS
    from mupd.model.training.train_vectors import train_rna
    from mupd.model.training.vector_pairs import patients, spot_sets

    tiles, texts = TileEncoder.from_pretrained(plan.out / "tile_encoder"), TextEncoder()
    spots = spot_sets(plan.spots(plan.sections), plan.raw, tiles)
    people = patients(plan.tcga, plan.codec, texts, held_out=False)
    model = MuPDTransformer(
        "rna", {"he": tiles.dim, "text": TEXT_DIM}, channels=plan.codec.dim, vector_tokens=8, **plan.network("rna")
    )
    own = [texts(text) for text in HER2ST_TEXTS]
    settings = plan.settings("rna")
    _save(
        model,
        train_rna(model, spots, people, own, settings, plan.work / "rna", plan.batch_size("rna", 128)),
        plan.out / "transformer_rna",
    )


def _text(plan: Plan) -> None:
    from mupd.modalities.records import FIELDS
    from mupd.model.encoders import TextEncoder
    from mupd.model.training.train_vectors import train_record
    from mupd.model.training.vector_pairs import patients, spot_sets, tile_classes

    tiles = TileEncoder.from_pretrained(plan.out / "tile_encoder")
    spots = spot_sets(plan.spots(plan.sections), plan.raw, tiles)
    people = patients(plan.tcga, plan.codec, TextEncoder(), held_out=False, reports=False)
    classes = tile_classes(plan.tiles, plan.raw, tiles, held_out=False)
    streams = {"he": tiles.dim, "rna": plan.codec.dim + 1}
    model = MuPDTransformer("text", streams, channels=RECORD_DIM, vector_tokens=len(FIELDS), **plan.network("text"))
    ema = train_record(
        model, spots, people, classes, plan.settings("text"), plan.work / "text", plan.batch_size("text", 128)
    )
    _save(model, ema, plan.out / "transformer_text")


def _save(model: MuPDTransformer, ema: dict[str, torch.Tensor], folder: Path) -> None:
    model.load_state_dict(ema)
    model.eval()
    model.save_pretrained(folder)


def _metrics(plan: Plan) -> None:
    from mupd.model.training.card import write_card
    from mupd.model.training.facts import write_facts
    from mupd.model.training.measure import measure

    write_facts(plan)
    pipeline = MuPDPipeline.from_pretrained(plan.out)
    metrics = measure(plan, pipeline)
    write_json(plan.out / "metrics.json", metrics)
    networks = {"vae": pipeline.vae} | {part: pipeline.transformer(part) for part in ("he", "rna", "text")}
    parameters = {part: sum(p.numel() for p in network.parameters()) for part, network in networks.items()}
    write_card(plan, metrics, parameters, HELD_OUT_SECTION)


def run_training(config: Path, part: str) -> None:
    """Train one part or, with ``all``, every part in order; then measure.

    Raises
    ------
    InputFaults
        If the configuration or the name of the part is wrong.
    MupdError
        If a signal stopped a part; its checkpoint is saved.
    """
    if part != "all" and part not in PARTS:
        raise InputFaults("mupd train", [Fault("--part", part, f"all or one of {', '.join(PARTS)}")])
    plan = load_plan(config)
    torch.set_num_threads(plan.threads)
    steps = {"codecs": _codecs, "vae": _vae, "he": _he, "rna": _rna, "text": _text, "metrics": _metrics}
    for name in PARTS if part == "all" else (part,):
        print(f"mupd train: {name}")
        steps[name](plan)
        if was_stopped():
            raise MupdError(f"stopped by a signal while training {name}; run the same command again to go on")
