"""A complete MuPD model folder with tiny random networks: everything runs, nothing means anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mupd.files import write_json
from mupd.modalities.records import FIELDS
from mupd.model.encoders import TEXT_DIM, TILE_DIM, TileEncoder
from mupd.model.pathway_scores import PathwayScorer
from mupd.model.record_codec import RecordCodec
from mupd.model.rna_codec import Panel, RnaCodec
from mupd.model.transformer import MuPDTransformer
from mupd.model.vae import MuPDVAE

RNA_DIM = 8
TILE_COMPONENTS = 16
LATENT_CHANNELS = 4
NAME = "mupd-tiny-test"

_SHARED = [
    "ACTB",
    "GAPDH",
    "EEF1A1",
    "KRT8",
    "KRT18",
    "COL1A1",
    "COL3A1",
    "CD3E",
    "ERBB2",
    "ESR1",
    "EPCAM",
    "VIM",
    "B2M",
    "MKI67",
    "FN1",
    "SPARC",
    "CD74",
    "HLA-DRA",
    "TP53",
    "MYC",
]
_SPOT_ONLY = [
    "MALAT1",
    "RPL13",
    "RPS18",
    "TMSB10",
    "IGKC",
    "MUC1",
    "SCGB2A2",
    "PIP",
    "KRT19",
    "CD24",
    "S100A6",
    "FTH1",
    "TFF3",
    "GATA3",
    "XBP1",
    "AZGP1",
    "CRISP3",
    "APOE",
    "C3",
    "TIMP1",
]
_BULK_ONLY = [
    "CDX2",
    "KRT20",
    "VIL1",
    "LGR5",
    "AXIN2",
    "CDH1",
    "CDH17",
    "TFF1",
    "GKN1",
    "CLDN18",
    "UPK1A",
    "UPK2",
    "UPK3A",
    "KRT5",
    "KRT14",
    "PPARG",
    "FOXA1",
    "TP63",
    "EGFR",
    "FGFR3",
    "CCND1",
    "RB1",
    "CDKN2A",
    "PTEN",
    "PIK3CA",
    "KRAS",
    "BRAF",
    "MLH1",
    "MSH2",
    "APC",
]
SPOT_GENES = tuple(sorted(_SHARED + _SPOT_ONLY))
BULK_GENES = tuple(sorted(_SHARED + _BULK_ONLY))
GENE_SETS = {
    "EPITHELIUM": ("KRT8", "KRT18", "EPCAM", "KRT19", "CDH1"),
    "STROMA": ("COL1A1", "COL3A1", "FN1", "SPARC", "VIM"),
    "IMMUNE": ("CD3E", "CD74", "HLA-DRA", "B2M", "IGKC"),
    "PROLIFERATION": ("MKI67", "MYC", "TP53", "CCND1", "EEF1A1"),
}
STREAMS = {"text": TEXT_DIM, "pathways": len(GENE_SETS), "rna": RNA_DIM + 1, "he": TILE_COMPONENTS}
SPLITS = {"text": 2, "pathways": 1, "rna": 3, "he": 1}


def panel_of(genes: tuple[str, ...], dim: int, rng: np.random.Generator) -> Panel:
    """A random panel whose mean profile adds up to 10,000 counts."""
    linear = rng.gamma(2.0, 1.0, len(genes))
    mean = np.log1p(1e4 * linear / linear.sum()).astype(np.float32)
    sd = rng.uniform(0.2, 0.5, len(genes)).astype(np.float32)
    axes, _ = np.linalg.qr(rng.standard_normal((len(genes), dim)))
    scale = np.linspace(2.0, 0.7, dim).astype(np.float32)
    residual = rng.uniform(0.1, 0.5, len(genes)).astype(np.float32)
    return Panel(genes, mean, sd, np.ascontiguousarray(axes.T, np.float32), scale, residual)


def tiny_codec(dim: int = RNA_DIM) -> RnaCodec:
    """A codec of 40 spot and 50 bulk genes, 20 of them shared."""
    rng = np.random.default_rng(3)
    return RnaCodec({"spot": panel_of(SPOT_GENES, dim, rng), "bulk": panel_of(BULK_GENES, dim, rng)})


def randomise(module: torch.nn.Module, seed: int, level: float = 0.1) -> None:
    """Fill what is initialised to zero, without which an output depends on no condition."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(level * torch.randn(parameter.shape, generator=generator))


@cache
def tiny_scorer() -> PathwayScorer:
    """Scores of four small gene sets, standardised on random profiles."""
    rng = np.random.default_rng(11)
    genes = {"spot": SPOT_GENES, "bulk": BULK_GENES}
    profiles = {kind: np.log1p(rng.negative_binomial(2, 0.02, (40, len(names)))) for kind, names in genes.items()}
    return PathwayScorer.fit(GENE_SETS, profiles, genes)  # type: ignore[arg-type]


def tiny_transformer(seed: int = 0, **changes: Any) -> MuPDTransformer:
    """A trunk of width 32 and depth 2 that depends on all it is given."""
    torch.manual_seed(seed)
    records = RecordCodec(FIELDS)
    size = {"width": 32, "depth": 2, "heads": 4, "stem_width": 8, "stem_blocks": 1}
    targets = {"he_channels": LATENT_CHANNELS, "rna_dim": RNA_DIM, "rna_tokens": 4}
    targets |= {"text_dim": records.dim, "text_tokens": len(FIELDS)}
    model = MuPDTransformer(STREAMS, SPLITS, **(size | targets | changes))
    randomise(model, seed + 1)
    return model.eval()


def tiny_vae(seed: int = 0) -> MuPDVAE:
    """An autoencoder of small widths whose pictures use most of the grey levels."""
    torch.manual_seed(seed)
    model = MuPDVAE(LATENT_CHANNELS, (8, 16), (8, 16), (1, 1), (1, 1))
    randomise(model, seed + 1)
    with torch.no_grad():
        model.decoder[-2].weight.mul_(8.0)
    return model.eval()


def tiny_tile_encoder() -> TileEncoder:
    """The real backbone with a random projection."""
    rng = np.random.default_rng(5)
    components = rng.standard_normal((TILE_COMPONENTS, TILE_DIM)).astype(np.float32) / 16
    return TileEncoder(np.zeros(TILE_DIM, np.float32), components)


def _by_gene(codec: RnaCodec, name: str) -> dict[str, list[float | None]]:
    found = {}
    for kind, panel in codec.panels.items():
        values: NDArray[np.float32] = getattr(panel, name)
        of_gene = dict(zip(panel.genes, values.tolist(), strict=True))
        found[kind] = [of_gene.get(gene) for gene in codec.genes]
    return found


def make_tiny_model(folder: Path) -> Path:
    """Write the model folder, the same bytes each time; returns `folder`."""
    codec = tiny_codec()
    tiny_vae().save_pretrained(folder / "vae")
    tiny_transformer().save_pretrained(folder / "transformer")
    codec.save_pretrained(folder / "rna_codec")
    tiny_scorer().save_pretrained(folder / "pathways")
    tiny_tile_encoder().save_pretrained(folder / "tile_encoder")
    RecordCodec(FIELDS).save_pretrained(folder)
    write_json(folder / "model_index.json", {"name": NAME})
    write_json(folder / "genes.json", codec.genes)
    reference = {
        "haematoxylin_od": [0.0, 10.0],
        "eosin_od": [0.0, 10.0],
        "rna_mean": _by_gene(codec, "mean"),
        "rna_sd": _by_gene(codec, "sd"),
    }
    write_json(folder / "reference.json", reference)
    return folder


def write_inputs(folder: Path, case_id: str, parts: str, seed: int) -> dict[str, str]:
    """Input files of one case and its row of the sheet.

    Parameters
    ----------
    parts
        Of ``he``, ``rna`` (bulk table), ``spots`` (h5ad with positions), ``text``, joined by "+";
        a part with a "!" is there but unusable.
    """
    from conftest import he_pixels
    from PIL import Image

    row = {"case_id": case_id, "he": "", "rna": "", "text": "", "he_mpp": ""}
    rng = np.random.default_rng(seed)
    genes = tiny_codec().genes
    for part in filter(None, parts.split("+")):
        unusable, part = part.endswith("!"), part.rstrip("!")
        if part == "he":
            path = folder / f"{case_id}.png"
            Image.fromarray(he_pixels(256, 256, seed)).save(path)
            if unusable:
                path.write_bytes(path.read_bytes()[:5000])
            row |= {"he": path.name, "he_mpp": "0.78"}
        elif part == "rna":
            path = folder / f"{case_id}.tsv"
            names = [f"Gene{n}" for n in range(len(genes))] if unusable else genes
            counts = rng.negative_binomial(2, 0.02, len(genes)) + 1
            lines = [f"{gene}\t{count}" for gene, count in zip(names, counts, strict=True)]
            path.write_text("\n".join(["gene\tvalue", *lines]) + "\n", encoding="utf-8")
            row["rna"] = path.name
        elif part == "spots":
            import anndata as ad
            import pandas as pd

            path = folder / f"{case_id}.h5ad"
            counts = (rng.negative_binomial(2, 0.02, (9, len(genes))) + 1).astype(np.float32)
            xy = np.stack(np.meshgrid([40.0, 128.0, 216.0], [40.0, 128.0, 216.0]), -1).reshape(-1, 2)
            table = ad.AnnData(counts, var=pd.DataFrame(index=genes), obsm={"spatial": xy})
            table.write_h5ad(path)
            row |= {"rna": path.name, "he_mpp": "0.78"}
        elif part == "text":
            path = folder / f"{case_id}.txt"
            path.write_text("" if unusable else f"Invasive breast carcinoma, G{1 + seed % 3}, pT2.\n", encoding="utf-8")
            row["text"] = path.name
    return row


def write_tiny_cohort(folder: Path, model: Path, cases: Mapping[str, str], **sections: Any) -> Path:
    """Inputs, sheet and configuration of a small cohort; returns the configuration's path.

    Parameters
    ----------
    cases
        {case id: parts} as for :func:`write_inputs`; a case's files depend on its own id alone.
    sections
        Keys of the configuration that differ from a small, fast one.
    """
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    rows = [write_inputs(folder, case, parts, sum(case.encode())) for case, parts in cases.items()]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "cases": str(folder / "cases.tsv"),
        "outdir": "results",
        "model": str(model),
        "shards": 1,
        "draws": {"he": 1, "rna": 2, "text": 2},
        "slide": {"width_px": 128, "height_px": 128},
        "sampler": {"steps": 2, "guidance": {"text": 1.5, "rna": 1.5}, "batch_size": 1, "device": "cpu"},
        "intake": {"min_tissue_mm2": 0.001},
        "check": {"min_tissue_fraction": 0.0},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values | sections), encoding="utf-8")
    return path
