"""The cohort stage: every shard's files in; manifest, cohort file, report, data card and provenance out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mupd.base.ids import MODALITIES, stain_name
from mupd.config import Config
from mupd.contracts.layout import Layout
from mupd.contracts.manifest import write_manifest
from mupd.contracts.stage_record import now
from mupd.inputs.runners import in_workers
from mupd.model_folder.contents import model_genes
from mupd.stages.cohort.join_shards import CohortCase, join_shards
from mupd.stages.cohort.manifest import manifest_rows, write_case_ids

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MOST_PICTURED_CASES = 200
"""Further cases have no pictures in the report: a page of thousands would not open."""


def model_of(cases: list[CohortCase]) -> tuple[str, str]:
    """Id and SHA-256 of the model that made the draws, "" where there is none."""
    for case in cases:
        for modality in MODALITIES:
            for draw in case.parts[modality].draws:
                if draw.meta is not None:
                    return draw.meta.model_id, draw.meta.model_sha256
    return "", ""


def _signing_key(config: Config) -> Ed25519PrivateKey | None:
    from mupd.synthetic.signature import passphrase_from, read_private_key

    if config.sign.key is None:
        return None
    return read_private_key(Path(config.sign.key), passphrase_from(config.sign.passphrase_env))


def _sign(path: Path, key: Ed25519PrivateKey | None) -> list[Path]:
    """Sign a file, or remove the signature of an earlier run; returns what was written."""
    from mupd.synthetic.signature import remove_signature, sign_file

    if key is None:
        remove_signature(path)
        return []
    return list(sign_file(path, key))


def run(config: Config) -> list[Path]:
    """Write everything there is over all shards; returns the paths.

    ``manifest.tsv``, ``cohort/cohort.h5mu``, ``report.html``, ``data_card.md``, ``provenance/`` (the workflow's own
    files) and ``ro-crate-metadata.json``; with a signing key the signatures of the manifest and of the last one.
    Beside them ``case_ids.tsv``, if a case is named otherwise than in the sheet: it is for the cohort's owner alone.

    Raises
    ------
    InputFaults
        If the signing key cannot be used.
    MupdError
        If files of earlier stages are missing, or the model's folder lists no genes.
    """
    from mupd.stages.cohort.crate import write_crate
    from mupd.stages.cohort.crate_entities import RunFacts
    from mupd.stages.cohort.data_card import card_facts, write_card
    from mupd.stages.cohort.expectations import meet_and_write
    from mupd.stages.cohort.forecast import view as forecast_view
    from mupd.stages.cohort.model_figures import read_metrics
    from mupd.stages.cohort.mudata import build, write_cohort
    from mupd.stages.cohort.read_case_values import read_case_values
    from mupd.stages.cohort.report import ReportContent, write_report
    from mupd.stages.cohort.workflow_copy import copy_workflow
    from mupd.synthetic.signature import fingerprint

    started, key = now(), _signing_key(config)
    layout = Layout(config.out)
    manifest, cohort, report = layout.manifest, layout.cohort, layout.report
    card, crate = layout.data_card, layout.crate
    cases = join_shards(config)
    genes = model_genes(Path(config.model))
    rows = manifest_rows(cases)
    write_manifest(manifest, rows)
    expected = meet_and_write([case.inventory for case in cases], rows, config)
    write_case_ids(layout.case_ids, cases)
    signatures = _sign(manifest, key)
    values = read_case_values(cases, config, genes, in_workers(config, genes, jobs=1), MOST_PICTURED_CASES)
    model = model_of(cases)
    of_modalities = [row for row in rows if stain_name(row["modality"]) is None]
    write_cohort(cohort, build(cases, values, genes, model, of_modalities))
    forecast = forecast_view(cases, config)
    write_report(report, cases, values, config, ReportContent(genes, *model, MOST_PICTURED_CASES, expected, forecast))
    facts = RunFacts(started, now(), *model, fingerprint(key.public_key()) if key else "")
    write_card(card, card_facts(cases, values, config, facts, read_metrics(Path(config.model))))
    workflow = copy_workflow(layout.provenance)
    described = {
        "Each modality of each case, what became of it, and the hashes of all artifacts.": manifest,
        "The completed cohort (MuData).": cohort,
        "The cohort in pictures and tables.": report,
        "The synthetic data judged by seven criteria.": card,
    }
    described |= {f"{path.suffix[1:]} file of the manifest's signature.": path for path in signatures}
    write_crate(crate, cases, config, facts, workflow, described)
    return [manifest, *signatures, cohort, report, card, *workflow, crate, *_sign(crate, key)]
