"""All that a plan trains on: the public data sets it names, the user's own cohort, or both."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import write_json
from mupd.errors import CaseError, Fault, InputFaults
from mupd.model.attention import Conditions
from mupd.model.encoders import TextEncoder, TileEncoder
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import to_uint8
from mupd.model.rna_codec import RnaCodec
from mupd.model.transformer import Target
from mupd.rna.profiles import to_log_cp10k
from mupd.training.cohort.batches import (
    CohortHe,
    CohortRecords,
    CohortRna,
    EncodedCase,
    Mixed,
    encode_case,
)
from mupd.training.cohort.cases import TrainingCase, TrainingCohort, cohort_facts, print_cohort, read_cohort
from mupd.training.cohort.windows import Windows, cut_windows
from mupd.training.he_batches import HER2ST_TEXTS, HeBatches, class_reports
from mupd.training.kept_texts import KeptTexts, kept_texts_path
from mupd.training.plan import Plan
from mupd.training.prepare import TrainingProfiles, is_held_out, training_profiles
from mupd.training.preview import spot_examples
from mupd.training.sources import HELD_OUT_SECTION, read_tiles, tissue_windows
from mupd.training.train_vae import CohortCrops, Crops, CropSampler, MixedCrops
from mupd.training.vector_batches import RecordBatches, RnaBatches
from mupd.training.vector_pairs import labelled_spots, patients, spot_sets, tile_classes

_TILE_SHARE = 0.25
_FACT_WINDOW_PX = 512
_LEAST_GENES = 50


class Examples(NamedTuple):
    """Real windows (n, 128, 128, 3) uint8 and the conditions to draw others like them."""

    real: NDArray[np.uint8]
    conditions: Conditions


class DataModule:
    """The data of a plan, read when first asked for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def cohort(self) -> TrainingCohort:
        """The user's own cases; empty where the plan names none."""
        settings = self.plan.cohort
        if settings is None:
            return TrainingCohort((), ())
        base = self.plan.base
        genes = None if base is None else RnaCodec.from_pretrained(base / "rna_codec").genes
        cohort = read_cohort(settings.configfile, genes)
        if not cohort.cases and not self.plan.public:
            print_cohort(cohort)
            fault = Fault("[data.cohort]", f"{cohort.counts()}", "at least one case with two usable modalities")
            raise InputFaults(f"training configuration of {self.plan.name}", [fault])
        return cohort

    def report(self) -> None:
        """Print which cases are used for what and why the others are not; write the same to data.json (work folder)."""
        facts: dict[str, Any] = {"public": sorted(self.plan.public)}
        if self.plan.cohort is not None:
            print_cohort(self.cohort)
            facts["cohort"] = cohort_facts(self.cohort)
        write_json(self.plan.work / "data.json", facts)

    def profiles(self) -> TrainingProfiles:
        """Profiles that codecs are fitted to; a kind that there is none of is stood for by the other."""
        spots: list[tuple[NDArray[np.float32], list[str]]] = []
        bulk: list[tuple[NDArray[np.float32], list[str]]] = []
        if self.plan.public:
            found = training_profiles(self.plan.her2st, self.plan.tcga)
            spots += [(section, found.spot_genes) for section in found.spots]
            bulk.append((found.bulk, found.bulk_genes))
        for case in self.cohort.cases:
            if case.profile is not None:
                own = bulk if case.profile.kind == "bulk" else spots
                own.append((to_log_cp10k(case.profile), list(case.profile.genes)))
        if self.plan.public and len(spots) == len(found.spots) and len(bulk) == 1:
            return found
        spots, bulk = spots or bulk, bulk or spots
        if not spots:
            raise InputFaults(
                "training data", [Fault("[data]", "no RNA profile", "some, or the codecs of a model as `base`")]
            )
        spot_values, spot_genes = _on_shared_genes(spots)
        bulk_values, bulk_genes = _on_shared_genes(bulk)
        values = np.concatenate(bulk_values)
        for kind, count in (("spots", sum(map(len, spot_values))), ("bulk profiles", len(values))):
            if min(count, len(spot_genes), len(bulk_genes)) < self.plan.rna_components:
                expected = f"at most the {count} {kind} to fit them to, or the codecs of a model as `base`"
                raise InputFaults("training data", [Fault("[rna_components]", str(self.plan.rna_components), expected)])
        return TrainingProfiles(spot_values, spot_genes, values, bulk_genes)

    @cached_property
    def _backbone(self) -> TileEncoder:
        return TileEncoder(np.zeros(1, np.float32), np.zeros((1, 1), np.float32))

    @cached_property
    def _windows(self) -> dict[str, Windows]:
        """Windows of every case with H&E; a slide that none can be cut from is a fault."""
        settings = self.plan.cohort
        found, faults = {}, []
        for case in self.cohort.cases:
            if case.he is not None and settings is not None:
                try:
                    found[case.case_id] = cut_windows(
                        case, self._backbone, settings.windows, self.plan.work / "windows"
                    )
                except CaseError as error:
                    faults.append(
                        Fault(f"[data.cohort] {case.case_id}", str(error), "a slide to train on; else clear its cell")
                    )
        if faults:
            raise InputFaults("training data", faults)
        return found

    def raw_features(self) -> NDArray[np.float32]:
        """(n, 2560) backbone features of the tiles that the projection is fitted to."""
        raw = [windows.raw for windows in self._windows.values()]
        if self.plan.public:
            raw += [rows for section in self.plan.spots(self.plan.sections) for rows in self.plan.raw.spots(section)]
            table = read_tiles(self.plan.tiles)
            trained = np.array([not is_held_out(str(group)) for group in table["group"]])
            raw.append(self.plan.raw.organs(table)[trained])
        count = sum(map(len, raw))
        if count < self.plan.tile_components:
            expected = f"at most the {count} tiles to fit them to, or the codecs of a model as `base`"
            raise InputFaults("training data", [Fault("[tile_components]", str(self.plan.tile_components), expected)])
        return np.concatenate(raw)

    def crops(self) -> Crops:
        """Crops for the autoencoder."""
        own = [windows.pixels for windows in self._windows.values()]
        sources: list[Crops] = []
        if self.plan.public:
            sources.append(CropSampler(self.plan.her2st, list(self.plan.sections), self.plan.tiles, _TILE_SHARE))
        if own:
            sources.append(CohortCrops(own))
        if not sources:
            raise InputFaults("training data", [Fault("[data]", "no H&E", "some, or the codecs of a model as `base`")])
        return sources[0] if len(sources) == 1 else MixedCrops(sources, self._shares)

    @property
    def _shares(self) -> list[float]:
        """Of the public data and of the cohort."""
        share = 1.0 if self.plan.cohort is None else self.plan.cohort.share
        return [1 - share, share]

    def sources(
        self, targets: list[Target], tiles: TileEncoder, texts: KeptTexts, records: RecordCodec
    ) -> dict[Target, Any]:
        """A source of batches for each target that there are data for."""
        parts: dict[Target, list[tuple[float, Any]]] = {target: [] for target in targets}
        shares = self._shares if self.plan.public and self.cohort.cases else [1.0, 1.0]
        if self.plan.public:
            for target, source in self._public(targets, tiles, texts, records).items():
                parts[target].append((shares[0], source))
        for target, source in self._own(tiles, texts, records).items():
            if target in parts:
                parts[target].append((shares[1], source))
        found: dict[Target, Any] = {}
        for target, pairs in parts.items():
            if len(pairs) > 1:
                codec = records if target == "text" else None
                found[target] = Mixed([source for _, source in pairs], [share for share, _ in pairs], codec)
            elif pairs:
                found[target] = pairs[0][1]
            else:
                print(f"mupd train: no pair to learn {target} from; this target is left out")
        return found

    def _public(
        self, targets: list[Target], tiles: TileEncoder, texts: KeptTexts, records: RecordCodec
    ) -> dict[Target, Any]:
        plan = self.plan
        found: dict[Target, Any] = {}
        sections = plan.spots(plan.sections)
        if "he" in targets:
            reports = class_reports(plan.tcga, texts) if plan.tile_reports else None
            found["he"] = HeBatches(sections, plan.tiles, texts, plan.tile_share, plan.tile_balance, reports)
        spots = spot_sets(sections, plan.raw, tiles)
        people = patients(plan.tcga, plan.codec, plan.scorer, texts, "train", reports="rna" in targets)
        if "rna" in targets:
            found["rna"] = RnaBatches(spots, people, [texts(text) for text in HER2ST_TEXTS])
        if "text" in targets:
            classes = tile_classes(plan.tiles, plan.raw, tiles, "train")
            labelled = labelled_spots(plan.her2st, plan.codec, plan.scorer)
            found["text"] = RecordBatches(records, spots, people, classes, labelled)
        return found

    def _own(self, tiles: TileEncoder, texts: KeptTexts, records: RecordCodec) -> dict[Target, Any]:
        plan = self.plan
        cases = [self._encoded(case, tiles, texts, records) for case in self.cohort.cases]
        found: dict[Target, Any] = {}
        if slides := [case for case in cases if case.windows is not None]:
            found["he"] = CohortHe(slides, plan.codec.dim + 1, plan.scorer.dim)
        if profiles := [case for case in cases if case.components is not None and (case.spatial or case.texts)]:
            found["rna"] = CohortRna(profiles, tiles.dim)
        known = [case for case in cases if case.record and (case.tiles is not None or case.conditions is not None)]
        if known:
            dims = {"he": tiles.dim, "rna": plan.codec.dim + 1, "pathways": plan.scorer.dim}
            found["text"] = CohortRecords(known, records, dims)
        return found

    def _encoded(self, case: TrainingCase, tiles: TileEncoder, texts: KeptTexts, records: RecordCodec) -> EncodedCase:
        windows = self._windows.get(case.case_id)
        return encode_case(case, windows, self.plan.codec, self.plan.scorer, tiles, texts, records)

    def texts(self) -> KeptTexts:
        """The text encoder; embeddings are kept in the work folder."""
        return KeptTexts(TextEncoder(), kept_texts_path(self.plan.work))

    def examples(self, sources: dict[Target, Any], count: int) -> Examples | None:
        """What sample grids are drawn of: the held-out section, or windows of the cohort; None without H&E."""
        if self.plan.public:
            return Examples(*spot_examples(self.plan.spots((HELD_OUT_SECTION,))[0], count))
        if "he" not in sources:
            return None
        images, conditions, _ = sources["he"].batch(count, np.random.default_rng(7))
        return Examples(to_uint8(images), conditions)

    def stain_windows(self) -> list[NDArray[np.uint8]]:
        """Windows over whose stain the reference ranges of a model are taken."""
        rng = np.random.default_rng(0)
        found = [pixels for windows in self._windows.values() for pixels in windows.pixels[:40]]
        if self.plan.public:
            paths = read_tiles(self.plan.tiles)["path"][::4]
            found += [np.asarray(Image.open(path).convert("RGB")) for path in paths]
            side = _FACT_WINDOW_PX
            for section in self.plan.spots(self.plan.sections):
                corners = tissue_windows(section.image, side, 128)
                for y, x in corners[rng.choice(len(corners), min(40, len(corners)), replace=False)]:
                    found.append(section.image[y : y + side, x : x + side])
        return found


def _on_shared_genes(
    tables: list[tuple[NDArray[np.float32], list[str]]],
) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Tables of log1p CP10k on the genes that all of them have, in the order of the first."""
    shared = set.intersection(*(set(genes) for _, genes in tables))
    order = [gene for gene in tables[0][1] if gene in shared]
    if len(order) < min(_LEAST_GENES, min(len(genes) for _, genes in tables)):
        expected = "profiles of one platform, or the codecs of a model as `base`"
        raise InputFaults("training data", [Fault("[data]", f"{len(order)} genes that all profiles have", expected)])
    aligned = []
    for values, genes in tables:
        column = {gene: index for index, gene in enumerate(genes)}
        linear = np.expm1(values[:, [column[gene] for gene in order]].astype(np.float64))
        total = linear.sum(1, keepdims=True)
        aligned.append(np.log1p(1e4 * linear / np.where(total > 0, total, 1)).astype(np.float32))
    return aligned, order
