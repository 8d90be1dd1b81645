"""Sections of the run configuration. The one place where their keys are defined.

A key's ``title`` is its comment in config/config.yaml, its ``description`` the text in config/README.md;
`python -m mupd.config.generate` writes both, and the JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mupd.config.section import (
    AS_WRITTEN,
    MPP_RANGE,
    Codec,
    DrawCount,
    NotNegative,
    RnaScale,
    Share,
    SidePx,
    StepCount,
    Text,
    section,
)

Mpp = Annotated[float, Field(ge=MPP_RANGE[0], le=MPP_RANGE[1]), AS_WRITTEN]
GuidanceScale = Annotated[float, Field(ge=0, le=20), AS_WRITTEN]
SuiteFiles = tuple[Text, ...]


@section
class Tables:
    """Cohort tables."""

    rna: str | None = Field(
        default=None,
        title="a row per case, a column per gene (.h5ad, .h5mu, .tsv, .csv, .gz); null = none",
        description="`.h5ad` or `.h5mu` with case ids as `obs_names`, or `.tsv`, `.csv` (also `.gz`) with a row per "
        "case and a column per gene.",
    )
    text: str | None = Field(
        default=None,
        title="columns case_id and text (.csv, .tsv, .json, .jsonl, .gz); null = none",
        description="`.csv` or `.tsv` (also `.gz`) with columns `case_id` and `text`, or `.json`, `.jsonl`, `.ndjson` "
        "(also `.gz`) with objects that have these keys.",
    )
    match_ids: Literal["exact", "near"] = Field(
        default="exact",
        title="exact; near: TCGA.AA.0001 or TCGA-AA-0001-01A in a table stands for TCGA-AA-0001",
        description="How ids of tables match those of the sheet. `exact`: an id that nearly matches (other separators "
        "or capitals, a leading X, lost zeros, a sample's suffix such as -01A) makes the input unusable, and the "
        "message names it. `near`: a single such id stands for the case, unless it is a sample of normal tissue.",
    )
    rna_values: RnaScale | None = Field(
        default=None,
        title="scale of the values in tables.rna, as intake.rna_values; null = as there",
        description="Scale of the values in `tables.rna`, stated as in `intake.rna_values`; `null`: as stated there.",
    )


@section
class Draws:
    """Number of samples of each missing modality."""

    he: DrawCount = Field(default=1, title="slides per case", description="Slides per case.")
    rna: DrawCount = Field(
        default=3,
        title="RNA profiles per case",
        description="RNA profiles per case. The artifact holds their mean, standard deviation and each draw.",
    )
    text: DrawCount = Field(
        default=3,
        title="records per case",
        description="Records per case. The artifact holds probabilities and each draw.",
    )


@section
class Slide:
    """Generated slides and how their files are written."""

    width_px: SidePx = Field(default=1024, title="pixels", description="Width in pixels.")
    height_px: SidePx = Field(default=1024, title="pixels", description="Height in pixels.")
    mpp: Mpp = Field(
        default=0.78,
        title="micrometres per pixel",
        description="Micrometres per pixel. The shipped model works at 0.78; other scales are resampled from it.",
    )
    codec: Codec = Field(
        default="jpeg",
        title="of the DICOM files: jpeg, or the lossless jpeg2000, htj2k, jpegxl",
        description="Compression of the pixels in DICOM files: `jpeg` (small, read everywhere), or lossless and about "
        "five times as large: `jpeg2000` (OpenSlide reads it too), `htj2k` (written six times as fast) or `jpegxl`. "
        "[docs/artifacts.md](../docs/artifacts.md) says which programs read which.",
    )
    jpeg_quality: int = Field(
        default=90,
        ge=50,
        le=100,
        title="50 to 100",
        description="JPEG quality. The other codecs are lossless and ignore it.",
    )
    watermark: bool = Field(
        default=True,
        title="an invisible mark in the pixels",
        description="Whether to embed an invisible mark in the pixels. `mupd verify` recognizes the slide by it, also "
        "in a PNG or a smaller JPEG. Writing takes about twice as long.",
    )


@section
class Guidance:
    """Scales of classifier-free guidance of H&E; 1 = as trained."""

    text: GuidanceScale = Field(default=1.5, title="scale of the text", description="Scale of the text.")
    rna: GuidanceScale = Field(
        default=1.5,
        title="scale of the RNA profile",
        description="Scale of the RNA profile and its pathway scores.",
    )


@section
class Sampler:
    """How samples are drawn."""

    steps: StepCount = Field(
        default=20,
        title="from noise to sample; more steps are slower and a little finer",
        description="Steps from noise to sample.",
    )
    solver: Literal["euler", "heun"] = Field(
        default="euler",
        title="euler, or heun: two evaluations per step",
        description="`euler` evaluates the network once per step, `heun` twice (second order: more accurate with few "
        "steps).",
    )
    guidance: Guidance = Field(
        default_factory=Guidance,
        title="how strongly each condition steers H&E; 1 = as trained",
        description="Classifier-free guidance of H&E, one scale per condition. 1 follows the condition as trained; "
        "more follows it more closely and gives less variety. RNA and records are drawn without guidance, so that the "
        "spread of the draws shows how unsure the model is.",
    )
    batch_size: int = Field(
        default=16,
        ge=1,
        le=1024,
        title="windows denoised together; fewer need less memory",
        description="Windows of a slide that are denoised together. Lower it if memory runs out.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        title="auto (a GPU if there is one), cpu or cuda",
        description="`auto` uses a CUDA GPU if there is one.",
    )
    compile: bool = Field(
        default=False,
        title="torch.compile: worthwhile in long runs on a GPU",
        description="Whether to compile the network with `torch.compile`. Worthwhile in long runs on a GPU; on a CPU "
        "it needs a C++ compiler.",
    )


@section
class IntakeLimits:
    """What an input must reach to count as measured, and what reading it may cost."""

    min_tissue_mm2: NotNegative = Field(
        default=0.05,
        title="tissue on a slide, square millimetres",
        description="Tissue on a slide, in square millimetres.",
    )
    min_text_words: int = Field(default=3, ge=1, title="words in a text", description="Words in a text.")
    min_gene_overlap: Share = Field(
        default=0.1,
        title="share of the model's genes that a profile has, 0 to 1",
        description="Share of the model's genes that a profile has.",
    )
    rna_values: RnaScale = Field(
        default="auto",
        title="auto, counts, tpm, log2p1, log1p, log10p1, log2(x+0.001), ...",
        description="Scale of all RNA inputs: `auto` (what the file states, or else the numbers show; the evidence is "
        "kept, and an input without evidence is unusable), `counts`, `tpm` (or `fpkm`, `cpm`: any linear scale), "
        "`log2p1` for log2(x + 1), `log1p` for ln(x + 1), `log10p1`, or a formula such as `log2(x+0.001)`. `log` "
        "leaves the base to the numbers. `vst`, `rlog`, `rma`, `microarray` and `zscore` cannot be turned back: such "
        "inputs are unusable. The sheet's column `rna_values` takes precedence, then `tables.rna_values`. Formats "
        "with a fixed scale keep it. If a quantifier's table has both, `counts` takes the reads and every other "
        "setting the TPM.",
    )
    allow_synthetic: tuple[str, ...] = Field(
        default=(),
        title="names of marked inputs that may be read as measured; empty for a real cohort",
        description="File name patterns (`*`, `?`) of inputs that may be read as measured although they carry a "
        "synthetic mark. Leave it empty for a real cohort: every marked input is then refused. The manifest states "
        "which pattern admitted which input.",
    )
    file_seconds: Annotated[float, Field(gt=0), AS_WRITTEN] = Field(
        default=120,
        title="seconds that reading one input may take",
        description="Seconds that reading and checking one input may take, without the time to hash a large slide. An "
        "input that takes longer is `unusable`; the others go on.",
    )
    file_mb: int = Field(
        default=4096,
        ge=64,
        title="megabytes of memory that reading one input may take",
        description="Memory in megabytes that reading one input may take, beyond what the reader's process holds "
        "already. An input that needs more is `unusable`.",
    )
    min_library_size: NotNegative = Field(
        default=100,
        title="total counts of an RNA input, if it holds counts",
        description="Total counts of an RNA input, if it holds counts (in a quantifier's table also beside TPM). The "
        "default only keeps empty libraries out; 100000 suits bulk RNA-seq of the whole transcriptome.",
    )
    min_detected_fraction: Share = Field(
        default=0.05,
        title="share of a profile's genes with any expression, 0 to 1",
        description="Share of a profile's genes that have any expression.",
    )
    he_mpp_over_file: bool = Field(
        default=False,
        title="take he_mpp of the sheet where the slide's file states another scale",
        description="Take `he_mpp` of the sheet where the slide's file states another scale. Otherwise a slide whose "
        "two scales differ by over 10 % is `unusable`, and the reason names both.",
    )


@section
class CheckLimits:
    """What a generated draw must reach to be accepted."""

    min_tissue_fraction: Share = Field(
        default=0.05,
        title="share of a generated slide that is tissue, 0 to 1",
        description="Share of a generated slide that is tissue.",
    )
    abstain_below: Share = Field(
        default=0.4,
        title="a field is undetermined if its most probable value is less probable than this",
        description="A field of a generated record is undetermined, in each draw and in the report, if its most "
        "probable value is less probable than this, or if all its values are equally probable. Its probabilities are "
        "kept. With 0, only fields with equally probable values are undetermined.",
    )
    untrained_organ: Literal["note", "reject"] = Field(
        default="note",
        title="draws of an organ that the model was not trained on: note or reject",
        description="What happens to a draw for an organ on which none of the given modalities was trained for its "
        "target, according to the model's `trained_on.json`. `note` accepts it with a note in the artifact, the "
        "manifest and the report; `reject` rejects it. If only one of two given modalities was trained on the organ, "
        "the draw is accepted with a note in either case. The organ is the sheet's, else the measured report's; if "
        "neither states one, there is no note.",
    )


@section
class ReportSettings:
    """What report.html shows."""

    title: str = Field(default="mupd cohort report", title="heading of the page", description="Heading of the page.")
    show_measured_text: bool = Field(
        default=False,
        title="measured reports in full: only if no real person is in them",
        description="Whether to show measured reports in full. Reports of real patients may name them: leave it off "
        "unless you are sure.",
    )
    show_free_columns: bool = Field(
        default=False,
        title="the sheet's columns x_...",
        description="Whether to show the sheet's free columns (`x_...`). The cohort file has them in any case.",
    )


@section
class Suites:
    """The user's own expectation suites, by the table that they are for."""

    sheet: SuiteFiles = Field(
        default=(), title="a row per case", description="Suites for the sample sheet, a row per case."
    )
    inventory: SuiteFiles = Field(
        default=(),
        title="a row for each modality of a case",
        description="Suites for the inventory, a row for each modality of a case.",
    )
    rna_profiles: SuiteFiles = Field(
        default=(),
        title="measured RNA matrices, a row per case",
        description="Suites for the measured RNA matrices, a row per case.",
    )
    generated_rna: SuiteFiles = Field(
        default=(), title="a row per draw", description="Suites for generated RNA, a row per draw."
    )
    manifest: SuiteFiles = Field(
        default=(),
        title="a row for each modality of a case",
        description="Suites for the manifest, a row for each modality of a case.",
    )


@section
class Expectations:
    """Expectation suites and what follows if one is not met."""

    on_failure: Literal["report", "stop"] = Field(
        default="report",
        title="report: a warning; stop: the run ends there",
        description="What follows if an expectation is not met: `report` (a warning in the log and the report) or "
        "`stop` (the run ends before generation, before export or at its end).",
    )
    suites: Suites = Field(
        default_factory=Suites,
        title="JSON files of your own beside the shipped suites",
        description="Your own suites beside those that mupd ships: JSON files in the form of Great Expectations, by "
        "the table that they are for.",
    )


@section
class Signing:
    """Signature of the manifest and the crate."""

    key: Text | None = Field(
        default=None,
        title="Ed25519 private key (PEM), made by `mupd keygen`; null = unsigned",
        description="Ed25519 private key (PEM; `mupd keygen` makes one); null leaves them unsigned.",
    )
    passphrase_env: str = Field(
        default="MUPD_SIGN_PASSPHRASE",
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",  # MUPD_SIGN_PASSPHRASE
        title="environment variable that holds the key's passphrase, if it has one",
        description="Name of the environment variable that holds the key's passphrase, if it has one.",
    )
