"""ro-crate-metadata.json: the run as a Provenance Run Crate (Workflow Run RO-Crate 0.5, on RO-Crate 1.1).

https://www.researchobject.org/workflow-run-crate/profiles/provenance_run_crate/. The crate's root is the output
folder. What was generated is listed with its SHA-256 and told as synthetic; what was given is known by its SHA-256 and
the case's research id alone, never by path. Two runs that did the same differ in times only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd import __version__
from mupd.base.files import sha256_file, write_json
from mupd.base.ids import MODALITIES, stain_name
from mupd.config import Config, config_schema
from mupd.stages.cohort.crate_actions import RunEntities, add_actions
from mupd.stages.cohort.crate_entities import GENERATED, Crate, RunFacts
from mupd.stages.cohort.join_shards import Artifact, CohortCase, Part

if TYPE_CHECKING:
    from rocrate.model import ContextEntity, Entity

CRATE = "ro-crate-metadata.json"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_LICENSE = (
    "No licence is granted by this file: whoever is responsible for the patients' data decides on the use of what was "
    "made from them. Synthetic data are not for diagnosis."
)
_WORDS = {"he": "H&E slide", "rna": "RNA profile", "text": "clinical text"}


def plain_settings(config: Config) -> Iterator[tuple[str, bool | int | float | str]]:
    """Keys of the configuration with their values: numbers, switches, and words that the schema lists.

    Any other text may name a place, a person or an institute: files, the model's folder, the report's title.
    """

    def walk(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            part = schema["properties"][name]
            if isinstance(value, dict):
                yield from walk(value, part, f"{prefix}{name}.")
            elif isinstance(value, bool | int | float) or "enum" in part:
                yield prefix + name, value

    yield from walk(config.to_dict(), config_schema())


def _describe_root(crate: Crate, cases: Sequence[CohortCase], facts: RunFacts) -> None:
    root = crate.crate.root_dataset
    profiles = [
        crate.entity(uri, "CreativeWork", name=name, version=version) for uri, (name, version) in _PROFILES.items()
    ]
    parts = [case.parts[modality] for case in cases for modality in MODALITIES]
    imputed = sum(part.state == "accepted" for part in parts)
    measured = sum(part.entry.status == "measured" for part in parts)
    root["name"] = "mupd run: a completed cohort, with SYNTHETIC data"
    root["description"] = (
        f"{len(cases)} cases with three modalities each: {measured} measured, {imputed} generated and accepted, "
        f"{len(parts) - measured - imputed} neither. What was generated is synthetic and not for diagnosis."
    )
    root["conformsTo"] = profiles
    root["license"] = _LICENSE
    root["datePublished"] = facts.ended
    descriptor = crate.crate.metadata
    descriptor["conformsTo"] = [{"@id": descriptor.profile}, profiles[-1]]


def _add_inputs(crate: Crate, cases: Sequence[CohortCase]) -> dict[tuple[str, str], ContextEntity]:
    """An entity for each measured modality of each case: its hash and the case's id."""
    entities: dict[tuple[str, str], ContextEntity] = {}
    for case in cases:
        for modality in MODALITIES:
            part = case.parts[modality]
            if part.entry.status != "measured":
                continue
            properties = {"digitalSourceType": GENERATED, "additionalProperty": crate.synthetic} if part.let_in else {}
            entities[case.case_id, modality] = crate.entity(
                f"#input-{case.case_id}-{modality}",
                "CreativeWork",
                name=f"{_WORDS[modality]} of case {case.case_id}, as given",
                description="Given to the run and no part of the crate: known by its hash alone.",
                sha256=part.entry.source_sha256,
                **properties,
            )
    return entities


def _add_settings(crate: Crate, config: Config) -> tuple[list[ContextEntity], list[ContextEntity]]:
    """Formal parameters of the workflow and their values in this run."""
    # bool before int: True is an int.
    kinds = {bool: "Boolean", int: "Integer", float: "Float", str: "Text"}
    parameters, values = [], []
    for key, value in plain_settings(config):
        parameter = crate.entity(
            f"#parameter-{key}",
            "FormalParameter",
            name=key,
            additionalType=kinds[type(value)],
            conformsTo={"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
        )
        filled = crate.entity(f"#value-{key}", "PropertyValue", name=key, value=value, exampleOfWork=parameter)
        parameter["workExample"] = filled
        parameters.append(parameter)
        values.append(filled)
    return parameters, values


def _add_workflow(crate: Crate, files: Sequence[Path], tools: list[Any], steps: list[Any], inputs: list[Any]) -> Entity:
    """The Snakefile and its rules as the main entity."""
    from rocrate.model import ComputationalWorkflow

    language = crate.entity(
        "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "ComputerLanguage",
        name="Snakemake",
        identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        url={"@id": "https://snakemake.readthedocs.io"},
    )
    snakefile, *rules = [file.relative_to(crate.out).as_posix() for file in files]
    for rule in rules:
        crate.file(rule, description="Rules of the workflow.")
    workflow = ComputationalWorkflow(
        crate.crate,
        dest_path=snakefile,
        properties={
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "mupd workflow",
            "description": "Completes a cohort: intake, generate, check and export a shard, cohort over all shards.",
            "version": __version__,
            "license": "Apache-2.0",
            "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
            "programmingLanguage": language,
            "encodingFormat": "text/plain",
            "sha256": sha256_file(files[0]),
            "input": inputs,
            "step": steps,
            "hasPart": tools,
        },
    )
    crate.crate.add(workflow)
    crate.crate.root_dataset["mainEntity"] = workflow
    return workflow


def _artifact_entity(crate: Crate, case: CohortCase, part: Part, artifact: Artifact, given: list[Any]) -> Entity:
    numbers = ", ".join(str(draw) for draw in artifact.draws)
    what = f"draw {numbers}" if len(artifact.draws) == 1 else f"draws {numbers}"
    stain = stain_name(part.entry.modality)
    what_words = f"virtual stain {stain}" if stain else _WORDS[part.entry.modality]
    in_folder = (crate.out / artifact.path).is_dir()
    folder = " The hash of a folder is that of its files' names and hashes." if in_folder else ""
    return crate.file(
        f"{artifact.path}/" if in_folder else artifact.path,
        artifact.sha256,
        name=f"SYNTHETIC {what_words} of case {case.case_id} ({artifact.kind})",
        description=f"Task {part.task}, {what}; not measured.{folder}",
        isBasedOn=given,
        digitalSourceType=GENERATED,
        additionalProperty=crate.synthetic,
    )


def build_crate(
    cases: Sequence[CohortCase],
    config: Config,
    facts: RunFacts,
    workflow_files: Sequence[Path],
    outputs: dict[str, Path],
) -> dict[str, Any]:
    """The crate of a run as JSON-LD.

    Parameters
    ----------
    workflow_files
        The workflow's files under the output folder, the Snakefile first.
    outputs
        What the cohort stage wrote, {what it is: path}.
    """
    crate = Crate(config.out)
    _describe_root(crate, cases, facts)
    inputs = _add_inputs(crate, cases)
    parameters, values = _add_settings(crate, config)
    words = "Which cases there are; it names the places of the inputs and is no part of the crate."
    digest = sha256_file(Path(config.cases))
    sheet = crate.entity("#sample-sheet", "CreativeWork", name="sample sheet", description=words, sha256=digest)
    artifacts: dict[str, list[Entity]] = {}
    for case in cases:
        given = [inputs[case.case_id, modality] for modality in case.inventory.given]
        for modality in MODALITIES:
            part = case.parts[modality]
            made = [_artifact_entity(crate, case, part, artifact, given) for artifact in part.artifacts]
            artifacts.setdefault(case.case_id, []).extend(made)
        for part in case.stains.values():
            slide = [inputs[case.case_id, "he"]] if part.artifacts else []
            made = [_artifact_entity(crate, case, part, artifact, slide) for artifact in part.artifacts]
            artifacts[case.case_id].extend(made)
    written = [crate.mixed_file(path, description=what) for what, path in outputs.items()]
    if facts.fingerprint:
        written[0]["identifier"] = crate.entity(
            "#signing-key",
            "PropertyValue",
            name="Ed25519 public key that the manifest is signed for",
            propertyID="SHA-256 of its SubjectPublicKeyInfo (DER)",
            value=facts.fingerprint,
        )
    actions = add_actions(crate, cases, config, facts, RunEntities(inputs, artifacts, written, [sheet, *values]))
    actions.run["instrument"] = _add_workflow(crate, workflow_files, actions.tools, actions.steps, parameters)
    return crate.to_dict()


def write_crate(
    path: Path,
    cases: Sequence[CohortCase],
    config: Config,
    facts: RunFacts,
    workflow_files: Sequence[Path],
    outputs: dict[str, Path],
) -> None:
    """Write :func:`build_crate`, atomically."""
    write_json(path, build_crate(cases, config, facts, workflow_files, outputs))
