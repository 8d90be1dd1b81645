"""All data of a training: the public sets of the plan, the user's own cohort, or both."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mupd.base.files import write_json
from mupd.errors import CaseError, Fault, InputFaults
from mupd.model.encoders import TextEncoder, TileEncoder
from mupd.model.record_codec import RecordCodec
from mupd.model.regions import to_uint8
from mupd.model.rna_codec import RnaCodec
from mupd.model.transformer import Target
from mupd.rna.profiles import to_log_cp10k
from mupd.training.batches import BatchSource, Mixed
from mupd.training.cache import TextCache
from mupd.training.codecs import TrainingProfiles, on_shared_genes, training_profiles
from mupd.training.cohort.batches import CohortHe, CohortRecords, CohortRna, EncodedCase, Encoders, encode_case
from mupd.training.cohort.cases import TrainingCase, TrainingCohort, cohort_facts, print_cohort, read_cohort
from mupd.training.cohort.windows import Windows, cut_windows
from mupd.training.crops import CohortCrops, PublicCrops
from mupd.training.plan import Plan
from mupd.training.preview import Examples, spot_examples
from mupd.training.public.he_batches import HER2ST_TEXTS, HeBatches, TileMix, class_reports
from mupd.training.public.pairs import labelled_spots, read_patients, spot_sets, tile_classes, with_texts
from mupd.training.public.read import HELD_OUT_SECTION, read_tiles, tissue_windows
from mupd.training.public.splits import is_held_out
from mupd.training.public.spots import backbone
from mupd.training.public.vector_batches import RecordBatches, RnaBatches

_TILE_SHARE = 0.25
"""Share of the autoencoder's crops that are tiles."""
_STAIN_WINDOW_PX = 512


class TrainingData:
    """The data of a plan, read when first needed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def cohort(self) -> TrainingCohort:
        """The user's own cases; empty where the plan names none."""
        settings = self.plan.data.cohort
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
        """Print how each case is used, or why it is not; write the same to data.json in the work folder."""
        facts: dict[str, object] = {"public": ["her2st", "tcga", "tiles"] if self.plan.public else []}
        if self.plan.data.cohort is not None:
            print_cohort(self.cohort)
            facts["cohort"] = cohort_facts(self.cohort)
        write_json(self.plan.work / "data.json", facts)

    def profiles(self) -> TrainingProfiles:
        """Profiles that codecs are fitted to. If there are no bulk or no spot profiles, the others are used for both.

        Raises
        ------
        InputFaults
            If there is no profile, or fewer than components.
        """
        public = training_profiles(self.plan.her2st, self.plan.tcga) if self.plan.public else None
        own = [case.profile for case in self.cohort.cases if case.profile is not None]
        if public is not None and not own:
            return public
        spots, bulk = (
            [(to_log_cp10k(profile), list(profile.genes)) for profile in own if profile.kind == kind]
            for kind in ("spot", "bulk")
        )
        if public is not None:
            spots = [(section, public.spot_genes) for section in public.spots] + spots
            bulk = [(public.bulk, public.bulk_genes), *bulk]
        spots, bulk = spots or bulk, bulk or spots
        if not spots:
            raise InputFaults(
                "training data", [Fault("[data]", "no RNA profile", "some, or the codecs of a model as `base`")]
            )
        spot_values, spot_genes = on_shared_genes(spots)
        bulk_tables, bulk_genes = on_shared_genes(bulk)
        bulk_values = np.concatenate(bulk_tables)
        for kind, count in (("spots", sum(map(len, spot_values))), ("bulk profiles", len(bulk_values))):
            if min(count, len(spot_genes), len(bulk_genes)) < self.plan.rna_components:
                expected = f"at most the {count} {kind} to fit them to, or the codecs of a model as `base`"
                raise InputFaults("training data", [Fault("[rna_components]", str(self.plan.rna_components), expected)])
        return TrainingProfiles(spot_values, spot_genes, bulk_values, bulk_genes)

    @cached_property
    def _windows(self) -> dict[str, Windows]:
        """Windows of every case with H&E.

        Raises
        ------
        InputFaults
            If no window can be cut from a slide; names every such case.
        """
        settings = self.plan.data.cohort
        if settings is None:
            return {}
        windows, faults, encoder = {}, [], backbone()
        for case in self.cohort.cases:
            if case.he is not None:
                try:
                    windows[case.case_id] = cut_windows(case, encoder, settings.windows, self.plan.work / "windows")
                except CaseError as error:
                    expected = "a slide to train on; else clear its cell"
                    faults.append(Fault(f"[data.cohort] {case.case_id}", str(error), expected))
        if faults:
            raise InputFaults("training data", faults)
        return windows

    def raw_features(self) -> NDArray[np.float32]:
        """(n, 2560) backbone features of the tiles that the projection is fitted to."""
        raw = [windows.raw for windows in self._windows.values()]
        if self.plan.public:
            sections = [self.plan.spots(name) for name in self.plan.sections]
            raw += [rows for section in sections for rows in self.plan.raw.spots(section)]
            table = read_tiles(self.plan.tiles)
            trained = np.array([not is_held_out(str(group)) for group in table["group"]])
            raw.append(self.plan.raw.organs(table)[trained])
        count = sum(map(len, raw))
        if count < self.plan.tile_components:
            expected = f"at most the {count} tiles to fit them to, or the codecs of a model as `base`"
            raise InputFaults("training data", [Fault("[tile_components]", str(self.plan.tile_components), expected)])
        return np.concatenate(raw)

    def crops(self) -> BatchSource:
        """Crops for the autoencoder."""
        own = [windows.pixels for windows in self._windows.values()]
        sources: list[BatchSource] = []
        if self.plan.public:
            sources.append(PublicCrops(self.plan.her2st, self.plan.sections, self.plan.tiles, _TILE_SHARE))
        if own:
            sources.append(CohortCrops(own))
        if not sources:
            raise InputFaults("training data", [Fault("[data]", "no H&E", "some, or the codecs of a model as `base`")])
        return self._mixed(sources)

    def _mixed(self, sources: list[BatchSource]) -> BatchSource:
        """The public source and the cohort's as one, by the cohort's share; a single source as it is."""
        cohort = self.plan.data.cohort
        if len(sources) == 1 or cohort is None:
            return sources[0]
        return Mixed(sources, [1 - cohort.share, cohort.share])

    def sources(
        self, targets: list[Target], tiles: TileEncoder, texts: TextCache, records: RecordCodec
    ) -> dict[Target, BatchSource]:
        """A source of batches for each of the targets that there are data for."""
        public = self._public(targets, tiles, texts, records) if self.plan.public else {}
        own = self._own(Encoders(self.plan.codec, self.plan.scorer, tiles, texts, records))
        sources: dict[Target, BatchSource] = {}
        for target in targets:
            parts = [part[target] for part in (public, own) if target in part]
            if parts:
                sources[target] = self._mixed(parts)
            else:
                print(f"mupd train: no pair to learn {target} from; this target is left out")
        return sources

    def _public(
        self, targets: list[Target], tiles: TileEncoder, texts: TextCache, records: RecordCodec
    ) -> dict[Target, BatchSource]:
        plan, data = self.plan, self.plan.data
        sources: dict[Target, BatchSource] = {}
        sections = [plan.spots(name) for name in plan.sections]
        if "he" in targets:
            reports = class_reports(plan.tcga, texts) if data.tile_reports else {}
            mix = TileMix(plan.tiles, data.tile_share, data.tile_balance, reports)
            sources["he"] = HeBatches(sections, texts, mix)
        spots = spot_sets(sections, plan.raw, tiles)
        people = read_patients(plan.tcga, plan.codec, plan.scorer, "train")
        if "rna" in targets:
            people = with_texts(people, texts)
            sources["rna"] = RnaBatches(spots, people, [texts(text) for text in HER2ST_TEXTS])
        if "text" in targets:
            classes = tile_classes(plan.tiles, plan.raw, tiles, "train")
            labelled = labelled_spots(plan.her2st, plan.codec, plan.scorer)
            sources["text"] = RecordBatches(records, spots, people, classes, labelled)
        return sources

    def _own(self, encoders: Encoders) -> dict[Target, BatchSource]:
        plan = self.plan
        cases = [self._encoded(case, encoders) for case in self.cohort.cases]
        sources: dict[Target, BatchSource] = {}
        dims = {"he": encoders.tiles.dim, "rna": plan.codec.dim + 1, "pathways": plan.scorer.dim}
        if slides := [case for case in cases if case.windows is not None]:
            sources["he"] = CohortHe(slides, dims)
        if profiles := [case for case in cases if case.components is not None and (case.spatial or case.texts)]:
            sources["rna"] = CohortRna(profiles, dims)
        known = [case for case in cases if case.record and (case.tiles is not None or case.conditions is not None)]
        if known:
            sources["text"] = CohortRecords(known, encoders.records, dims)
        return sources

    def _encoded(self, case: TrainingCase, encoders: Encoders) -> EncodedCase:
        return encode_case(case, self._windows.get(case.case_id), encoders)

    def texts(self) -> TextCache:
        """The text encoder, with what it has encoded before."""
        return TextCache(TextEncoder(), self.plan.work)

    def examples(self, sources: dict[Target, BatchSource], count: int) -> Examples | None:
        """What previews show: the held-out section, or windows of the cohort; None without H&E."""
        if self.plan.public:
            return spot_examples(self.plan.spots(HELD_OUT_SECTION), count)
        if "he" not in sources:
            return None
        batch = sources["he"].batch(count, np.random.default_rng(7))
        return Examples(to_uint8(batch.clean), batch.conditions)

    def stain_windows(self) -> list[NDArray[np.uint8]]:
        """Windows whose stain gives the reference ranges of the model."""
        rng = np.random.default_rng(0)
        shown = [pixels for windows in self._windows.values() for pixels in windows.pixels[:40]]
        if self.plan.public:
            paths = read_tiles(self.plan.tiles)["path"][::4]
            shown += [np.asarray(Image.open(path).convert("RGB")) for path in paths]
            side = _STAIN_WINDOW_PX
            for name in self.plan.sections:
                image = self.plan.spots(name).image
                corners = tissue_windows(image, side, 128)
                for y, x in corners[rng.choice(len(corners), min(40, len(corners)), replace=False)]:
                    shown.append(image[y : y + side, x : x + side])
        return shown
