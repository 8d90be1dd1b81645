"""Writes the imputed record of a case as a DICOM structured report, every mark read back.

A Comprehensive SR document (PS3.3 A.35.3) after TID 1500 "Measurement Report" (PS3.16): the template whose
measurement groups (TID 1501) hold coded name and value beside numbers with their units, and which names the
algorithm that found them (TID 4019). DICOM has no template for a synoptic pathology report, and TID 2000
"Basic Diagnostic Imaging Report" is prose of a reader for a diagnosis: neither is what this is.

One measurement group a field. In it the field's value (code "Undetermined" where the model abstained): the organ
as the group's finding site, the diagnosis as its finding, others as qualitative evaluations; and for
each value that the field can have its mean probability over the draws, in percent, as (111012, DCM, "Certainty
of Finding") with the value as concept modifier. Codes: :mod:`mupd.synthetic.dicom.record_codes`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mupd.base.files import atomic_path
from mupd.contracts.draws import DrawMeta
from mupd.synthetic.dicom.derived import (
    REPORT_CLASS,
    assert_derived_marked,
    content_digest,
    mark_derived,
    provenance_of_draws,
    synthesizing_equipment,
)
from mupd.synthetic.dicom.metadata import created_utc
from mupd.synthetic.dicom.record_codes import (
    PRIVATE_SCHEME,
    PRIVATE_SCHEME_NAME,
    RecordCode,
    field_code,
    private_code,
    value_code,
)
from mupd.synthetic.dicom.uids import derived_uid
from mupd.synthetic.statement import WARNING, WORD, given_words, plain_statement

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        ComprehensiveSR,
        Measurement,
        MeasurementReport,
        MeasurementsAndQualitativeEvaluations,
    )
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

Field = Mapping[str, Any]
"""A field of a consensus: ``value`` (str, or None if it abstained), ``probabilities`` {value: 0-1}, ``agreement``."""

CERTAINTY = RecordCode("111012", "DCM", "Certainty of Finding")
AGREEMENT = private_code("agreement", "Share of draws with this value")
PROCEDURE = private_code("procedure", "Imputation by a generative model")
SERIES_DESCRIPTION = f"{WORD} record (mupd) - {WARNING}"
_PERCENT_DECIMALS = 4


def _code(code: RecordCode) -> Code:
    from pydicom.sr.coding import Code

    return Code(code.value, code.scheme, code.meaning)


def _number(name: RecordCode, share: float, modifier: tuple[RecordCode, RecordCode] | None) -> Measurement:
    """A share (0-1) as a NUM content item in percent, with a concept modifier (its name and its value)."""
    from highdicom.sr import CodeContentItem, ContentSequence, Measurement, RelationshipTypeValues
    from pydicom.sr.codedict import codes

    item = Measurement(_code(name), round(100 * share, _PERCENT_DECIMALS), codes.UCUM.Percent)
    if modifier is not None:
        child = CodeContentItem(_code(modifier[0]), _code(modifier[1]), RelationshipTypeValues.HAS_CONCEPT_MOD)
        item[0].ContentSequence = ContentSequence([child])
    return item


def _group(
    name: str, field: Field, uid: str, algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations:
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        RelationshipTypeValues,
        TextContentItem,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes

    concept, value = field_code(name), field["value"]
    probabilities = field["probabilities"]
    numbers = [
        _number(CERTAINTY, share, (concept, value_code(name, choice))) for choice, share in probabilities.items()
    ]
    if value is not None:
        numbers.append(_number(AGREEMENT, field["agreement"], None))
    coded = _code(value_code(name, value))
    # TID 1501 has rows of its own for a finding and its site; readers look for them there.
    rows: dict[str, dict[str, Any]] = {
        "organ": {"finding_sites": [FindingSite(coded)]},
        "diagnosis": {"finding_type": coded},
    }
    stated = rows.get(name) or {"qualitative_evaluations": [QualitativeEvaluation(_code(concept), coded)]}
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier=name),
        algorithm_id=algorithm,
        measurements=numbers,
        **stated,
    )
    if value is None:
        words = f"Abstained: no value of {name.replace('_', ' ')} reached the least probability that is stated."
        group[0].ContentSequence.append(TextContentItem(codes.DCM.Comment, words, RelationshipTypeValues.CONTAINS))
    return group


def _content(fields: Mapping[str, Field], metas: Sequence[DrawMeta], uids: Mapping[str, str]) -> MeasurementReport:
    from highdicom.sr import (
        AlgorithmIdentification,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        RelationshipTypeValues,
        TextContentItem,
    )
    from pydicom.sr.codedict import codes

    first = metas[0]
    algorithm = AlgorithmIdentification(
        name="mupd",
        version=first.mupd_version,
        parameters=[
            f"model: {first.model_id}",
            f"model sha256: {first.model_sha256}",
            f"given: {given_words(first.given)}",
            f"draws: {', '.join(str(meta.draw) for meta in metas)}",
        ],
        manufacturer="mupd",
    )
    observer = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uids["device"],
            name="mupd",
            manufacturer_name="mupd",
            model_name=first.model_id[:64],
            serial_number=first.model_sha256[:64],
        ),
    )
    groups = [_group(name, field, uids[name], algorithm) for name, field in fields.items()]
    report = MeasurementReport(
        ObservationContext(observer_device_context=observer),
        procedure_reported=_code(PROCEDURE),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    words = [plain_statement(first), *(f"Note: {note}" for note in dict.fromkeys(n for m in metas for n in m.notes))]
    # Before the measurements, so that whoever reads the document from the top reads them first.
    before = len(report[0].ContentSequence) - 1
    for position, text in enumerate(words, start=before):
        item = TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS)
        report[0].ContentSequence.insert(position, item)
    return report


def _subject(meta: DrawMeta, study_uid: str, study_moment: datetime.datetime) -> Dataset:
    """What highdicom takes patient and study from; it asks for a source instance, and there is none."""
    from pydicom.dataset import Dataset

    subject = Dataset()
    subject.SOPClassUID, subject.SOPInstanceUID, subject.SeriesInstanceUID = REPORT_CLASS, "", ""
    subject.StudyInstanceUID = study_uid
    subject.StudyDate, subject.StudyTime = study_moment.date(), study_moment.time()
    subject.StudyID, subject.AccessionNumber, subject.ReferringPhysicianName = "SYN", "", ""
    subject.StudyDescription = f"{WORD}: modality imputed by mupd"
    subject.PatientID, subject.PatientName = meta.case_id, f"{meta.case_id}^"
    subject.PatientBirthDate = subject.PatientSex = ""
    return subject


def _first_item_only(content: Dataset) -> Dataset:
    """The root container with its first child.

    highdicom copies the tree and searches it three times for references to images, of which it has none: half the time
    of a report. The whole tree is put in place afterwards.
    """
    from pydicom.dataset import Dataset

    root = Dataset()
    for element in content:
        if element.keyword != "ContentSequence":
            root.add(element)
    root.ContentSequence = content.ContentSequence[:1]
    return root


def build_sr(
    fields: Mapping[str, Field],
    metas: Sequence[DrawMeta],
    *,
    run_seed: int,
    artifact_key: str,
    study_created: str | None = None,
) -> ComprehensiveSR:
    """The structured report of a case's accepted text draws.

    Parameters
    ----------
    fields
        The consensus of the draws, field by field (:func:`mupd.synthetic.text.marks.consensus`).
    metas
        Of the draws, in ascending order.
    run_seed
        Of the run, for the UIDs.
    artifact_key
        Digest of what the file depends on; kept in the file, part of the UIDs.
    study_created
        When the first draw of the case was made (ISO 8601); that of the first of `metas` unless given.

    Raises
    ------
    ValueError
        If there is no draw or no field.
    """
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR

    if not metas or not fields:
        raise ValueError(f"report: found {len(metas)} draws and {len(fields)} fields; expected at least one of each")
    first = metas[0]
    study_created = study_created or first.created
    identity = (run_seed, first.case_id, first.target, artifact_key)
    uids = {name: derived_uid("field", *identity, name) for name in fields}
    uids["device"] = derived_uid("device", first.model_id, first.model_sha256)
    moment, study_moment = created_utc(first.created), created_utc(study_created)
    study = derived_uid("study", run_seed, first.case_id, first.model_sha256, study_created)
    content = _content(fields, metas, uids)[0]
    report = ComprehensiveSR(
        evidence=[_subject(first, study, study_moment)],
        content=_first_item_only(content),
        series_instance_uid=derived_uid("series", *identity),
        series_number=1,
        sop_instance_uid=derived_uid("instance", *identity, "SR"),
        instance_number=1,
        manufacturer="mupd",
        manufacturer_model_name="mupd generator",
        software_versions=first.mupd_version,
        device_serial_number="none",
        is_complete=True,
        record_evidence=False,
        series_description=SERIES_DESCRIPTION,
        content_date=moment.date(),
        content_time=moment.time(),
        specific_character_set="ISO_IR 192",
        coding_schemes=[
            CodingSchemeIdentificationItem(PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME, responsible_organization="mupd")
        ],
    )
    report.ContentSequence = content.ContentSequence
    # Nothing in the tree refers to another object: a measured source's UIDs are the patient's own.
    del report.CurrentRequestedProcedureEvidenceSequence
    provenance = provenance_of_draws(metas, artifact_key, content_digest(report))
    mark_derived(report, synthesizing_equipment(first, provenance, moment), moment)
    return report


def write_sr(
    fields: Mapping[str, Field],
    metas: Sequence[DrawMeta],
    path: Path,
    *,
    run_seed: int,
    artifact_key: str,
    study_created: str | None = None,
) -> None:
    """Write the structured report atomically; see :func:`build_sr` for the parameters.

    Raises
    ------
    CaseError
        If the written file lacks a mark; nothing is left under the final name then.
    """
    report = build_sr(fields, metas, run_seed=run_seed, artifact_key=artifact_key, study_created=study_created)
    with atomic_path(path) as temporary:
        report.save_as(temporary)
        assert_derived_marked(temporary)
