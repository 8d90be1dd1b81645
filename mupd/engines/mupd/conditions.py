"""Encodes what a case has into what the model reads."""

from __future__ import annotations

import numpy as np

from mupd.config import Config
from mupd.contracts.inventory import CaseInventory
from mupd.errors import CaseError
from mupd.inputs.readers import read_model_profile, read_report_text
from mupd.model.conditions import CaseVectors
from mupd.model.encoders import TILE_PX, WINDOW_UM
from mupd.model.pipeline import MuPDPipeline
from mupd.model_folder.trained_on import read_trained_on
from mupd.rna.profiles import RnaProfile, to_log_cp10k

MOST_TILES = 32
"""Tiles in the bag that stands for a slide."""

NOTE_BULK = "bulk RNA conditions the slide through the genes that the model's bulk and spatial profiles share"
NOTE_BULK_UNTRAINED = f"{NOTE_BULK}; the model was trained on H&E with spatial RNA alone"
NOTE_NO_POSITIONS = (
    "The spots' scale in micrometres is not known (no he_mpp), so their positions were not used: "
    "their mean profile conditions the whole slide."
)
NOTE_SHARES = "some fields say in part how frequent their values are among the model's training records of the organ"
NOTE_TEXT_ONLY = "Conditioned on text alone: the slide's scale was not part of the training and is nominal."


class CaseConditions:
    """Conditions of one case, read and encoded when first asked for and then kept."""

    def __init__(self, case: CaseInventory, config: Config, pipeline: MuPDPipeline) -> None:
        self.case, self.config, self.pipeline = case, config, pipeline
        self._tiles: tuple[np.ndarray, np.ndarray] | None = None
        self._text: np.ndarray | None = None
        self._profile: RnaProfile | None = None

    def tiles(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, dim) float32 of the slide's tissue tiles and their centres (n, 2) float64, level-0 px."""
        if self._tiles is None:
            from mupd.slides.reader import open_slide
            from mupd.slides.tiles import read_window, tissue_tiles

            entry = self.case.entries["he"]
            with open_slide(entry.origin.path, entry.facts["mpp"]) as reader:
                centres = tissue_tiles(reader, WINDOW_UM, MOST_TILES, seed=0)
                if len(centres) == 0:
                    raise CaseError("he: found no tile with tissue; expected at least one")
                windows = np.stack([read_window(reader, centre, 2 * WINDOW_UM, TILE_PX) for centre in centres])
            self._tiles = (self.pipeline.tile_encoder(windows), centres)
        return self._tiles

    def text(self) -> np.ndarray:
        """Embeddings (chunks, 384) of the report."""
        if self._text is None:
            self._text = self.pipeline.text_encoder(read_report_text(self.case.entries["text"].origin).text)
        return self._text

    def profile(self) -> RnaProfile:
        """The measured profile."""
        if self._profile is None:
            genes = self.pipeline.rna_codec.genes
            self._profile = read_model_profile(self.case.entries["rna"].origin, genes)
        return self._profile

    def rna_notes(self) -> list[str]:
        """How many genes of the model the case's profile lacks, in words; nothing where it has all."""
        profile = self.profile()
        panel = self.pipeline.rna_codec.panels[profile.kind].genes
        lacking = len(panel) - len(set(panel).intersection(profile.genes))
        if not lacking:
            return []
        return [
            f"{lacking} of the model's {len(panel)} genes for a {profile.kind} profile are not in this one; "
            "each stands at the training profiles' mean."
        ]

    def for_he(self) -> tuple[CaseVectors, list[str]]:
        """Conditions of an H&E target, and notes on their limits."""
        notes: list[str] = []
        rna = pathways = xy_px = text = None
        if "rna" in self.case.given:
            profile = self.profile()
            codec = self.pipeline.rna_codec
            notes += self.rna_notes()
            values = to_log_cp10k(profile)
            pathways, _ = self.pipeline.pathway_scorer.score(values, profile.genes, profile.kind)
            if profile.kind == "bulk":
                components = codec.bulk_as_spot(values, profile.genes)
                never = read_trained_on(self.pipeline.folder).get("bulk->he") == frozenset()
                notes.append(NOTE_BULK_UNTRAINED if never else NOTE_BULK)
            else:
                components = codec.encode(values, profile.genes, "spot")
            rna = codec.condition(components, "spot")
            if profile.kind == "spot" and profile.xy_px is not None:
                mpp = self.case.entries["rna"].facts.get("he_mpp")
                if mpp:
                    xy_px = self._placed(profile.xy_px, float(mpp))
                else:
                    notes.append(NOTE_NO_POSITIONS)
        if "text" in self.case.given:
            text = self.text()
            if rna is None:
                notes.append(NOTE_TEXT_ONLY)
        return CaseVectors(rna=rna, pathways=pathways, rna_xy_px=xy_px, text=text), notes

    def _placed(self, xy_px: np.ndarray, mpp: float) -> np.ndarray:
        """Spots in pixels (at the model's scale) of a slide centred on the spots' median."""
        slide = self.config.slide
        size_um = np.array([slide.width_px, slide.height_px]) * slide.mpp
        return ((xy_px - np.median(xy_px, axis=0)) * mpp + size_um / 2) / self.pipeline.geometry.mpp

    def for_rna(self) -> tuple[CaseVectors, np.ndarray | None]:
        """Conditions of an RNA target, and the centres of the tiles it is generated for."""
        tiles = centres = text = None
        if "he" in self.case.given:
            tiles, centres = self.tiles()
        if "text" in self.case.given:
            text = self.text()
        return CaseVectors(tiles=tiles, text=text), centres

    def for_text(self) -> CaseVectors:
        """Conditions of a text target."""
        tiles = rna = pathways = None
        if "he" in self.case.given:
            tiles, _ = self.tiles()
        if "rna" in self.case.given:
            profile = self.profile()
            values = to_log_cp10k(profile)
            components = self.pipeline.rna_codec.encode(values, profile.genes, profile.kind)
            pathways, _ = self.pipeline.pathway_scorer.score(values, profile.genes, profile.kind)
            rna = self.pipeline.rna_codec.condition(components, profile.kind)
        return CaseVectors(tiles=tiles, rna=rna, pathways=pathways)
