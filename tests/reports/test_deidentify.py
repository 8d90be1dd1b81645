from __future__ import annotations

import csv
import gzip
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupd.reports.deidentify.mask import KINDS, Known, mask_identifiers, masked_counts
from mupd.reports.record.fields import extract_record

FACTS = (
    "Invasive ductal carcinoma of the breast, Nottingham grade 2, pT2 pN1a (3/12), 2.3 x 1.1 cm, Gleason 3+4=7. "
    "Barrett mucosa, Paget's disease, no Hodgkin lymphoma, Lynch syndrome excluded, Crohn's disease, Ann Arbor IIA, "
    "CK5/6 and CD20 positive, Ki-67 20%, ICD-O 8500/3, C50.9, blocks A1-A10, WHO 2016, von Meyenburg complex."
)

# Kind, what is planted, the sentence round it (the secret stands for {}).
PLANTED: tuple[tuple[str, str, str], ...] = (
    ("NAME", "John A. Smith", "Patient Name: {}"),
    ("NAME", "SMITH, JOHN", "PATIENT: {}"),
    ("NAME", "jane doe", "patient name: {}"),
    ("NAME", "Okonkwo", "Name: {}, Chidi"),
    ("NAME", "van der Berg", "Referring physician: Dr. {}"),
    ("NAME", "O'Brien", "Seen by Dr. {} today."),
    ("NAME", "García-López", "Pathologist: {}, M.D."),
    ("NAME", "Maria Schmidt", "Electronically signed by {}, MD"),
    ("NAME", "Kowalczyk", "Results called to Dr. {} at 14:20."),
    ("NAME", "Barrett", "Attending: Dr. {}, MD"),
    ("NAME", "Wei Zhang", "{}, Ph.D., reviewed the slides."),
    ("NAME", "Nguyen", "Mrs. {} has a lump."),
    ("NAME", "Robert Miller", "{} is a 54 year old man."),
    ("NAME", "Tamika Washington", "The findings were discussed with {} by telephone."),
    ("NAME", "LEE", "DR. {} WAS NOTIFIED."),
    ("NAME", "Linda Fischer", "I spoke again with {} about it."),
    ("DATE", "03/14/2012", "Collected {}."),
    ("DATE", "3/4/12", "Received: {}"),
    ("DATE", "2012-03-14", "Date: {}"),
    ("DATE", "2012-03-14T09:30:00Z", "issued {}"),
    ("DATE", "14.03.2012", "Eingang am {}."),
    ("DATE", "March 14, 2012", "Biopsy of {} reviewed."),
    ("DATE", "14 March 2012", "Biopsy of {} reviewed."),
    ("DATE", "14-Mar-12", "Signed out {}"),
    ("DATE", "14MAR2012", "DATE RECEIVED: {}"),
    ("DATE", "Mar 2012", "A polyp was removed in {}."),
    ("DATE", "14th of March", "Surgery took place on the {}."),
    ("DATE", "19580721", "DOB: {}"),
    ("DATE", "7/21/58", "D.O.B. {}"),
    ("ID", "0012345", "MRN: {}"),
    ("ID", "A-778-221", "Medical Record Number: {}"),
    ("ID", "S12-34567", "Accession {} was reviewed."),
    ("ID", "SP-2012-01234", "Specimen {}, part A."),
    ("ID", "943 476 5919", "NHS No: {}"),
    ("ID", "12:S-4455", "Case #: {}"),
    ("ID", "H0099812", "Hospital no. {}"),
    ("ID", "88123400", "Encounter {} closed."),
    ("ID", "f59eb865-9898-4a22-9237-513cad028f65", "UUID: {}"),
    ("ID", "XQ4481290", "Insurance no: {}"),
    ("PHONE", "(713) 792-6161", "Call {} with questions."),
    ("PHONE", "713-792-6161", "Phone: {}"),
    ("PHONE", "713.792.6161", "Fax {}"),
    ("PHONE", "+44 20 7946 0958", "Reach us at {}."),
    ("PHONE", "+49 30 901820", "Telefon: {}"),
    ("PHONE", "55512", "ext. {}"),
    ("EMAIL", "j.smith@hospital.example.org", "Write to {}."),
    ("EMAIL", "JANE_DOE@EXAMPLE.COM", "E-mail: {}"),
    ("SSN", "123-45-6789", "SSN {}"),
    ("SSN", "123456789", "Social security number: {}"),
    ("ADDRESS", "1515 Holcombe Blvd", "Lives at {}, Houston."),
    ("ADDRESS", "Houston, TX 77030", "Sent to {}."),
    ("ADDRESS", "12 Elm Street, Apt 4", "Address: {}"),
    ("ADDRESS", "P.O. Box 1234", "Mail to {}."),
    ("ADDRESS", "Lindenstraße 12, 10969 Berlin", "Wohnhaft {}."),
    ("AGE", "92", "A {}-year-old woman."),
    ("AGE", "101", "This {} year old man."),
    ("AGE", "90", "Age: {}"),
    ("AGE", "93", "{} y/o female."),
    ("AGE", "ninety-four", "A {} year old lady."),
    ("URL", "https://portal.example.org/p?id=44812", "See {} for pictures."),
    ("URL", "www.example.org/jsmith", "See {}."),
)


def _with(planted: tuple[str, str, str]) -> str:
    return f"{planted[2].format(planted[1])}\n{FACTS}"


def _recall() -> dict[str, tuple[int, int]]:
    counts = dict.fromkeys(KINDS, (0, 0))
    for kind, secret, sentence in PLANTED:
        hidden = secret not in mask_identifiers(_with((kind, secret, sentence))).removesuffix(FACTS)
        counts[kind] = (counts[kind][0] + hidden, counts[kind][1] + 1)
    return counts


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted[0]}-{planted[1]}")
def test_a_planted_identifier_is_masked_and_facts_stay(planted: tuple[str, str, str]) -> None:
    masked = mask_identifiers(_with(planted))
    # Barrett's mucosa is a fact, Dr. Barrett is not.
    assert planted[1] not in masked.removesuffix(FACTS)
    assert f"[{planted[0]}]" in masked or planted[0] == "DATE"
    assert masked.endswith(FACTS)


def test_recall_a_kind() -> None:
    """Printed with ``pytest -s``; docs/intake.md shows it."""
    recall = _recall()
    for kind, (found, planted) in recall.items():
        print(f"{kind}: {found} of {planted}")
    assert all(found == planted > 0 for found, planted in recall.values())


SURNAMES = """
    Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Thomas Taylor Moore Jackson Martin Lee
    Thompson White Clark Lewis Robinson Walker Young Allen King Wright Nguyen Hill Green Adams Baker Hall Campbell
    Mitchell Patel Okafor Yamamoto Kowalski Müller Øberg Ivanova Al-Hassan Papadopoulos Chowdhury Mbeki Long Short
    Stone Church Cross Day Park Small Wall Rose Fields Barrett Crohn Reed Graves Kelly Ahmed Manning Harding
""".split()  # noqa: SIM905
SENTENCES = (
    "Discussed with Dr. {} by phone.",
    "Reviewed by Dr {}.",
    "Attending: {}",
    "Patient: {}, Kimberly",
    "Patient name: Aaliyah {}",
    "Signed, A. {}, MD",
    "Mr. {} is a smoker.",
    "This biopsy of John {} shows cancer.",
    "Electronically signed by Dana {}, M.D.",
)


def test_surnames_that_are_words_too() -> None:
    pairs = [(name, sentence) for name in SURNAMES for sentence in SENTENCES]
    missed = [(name, sentence) for name, sentence in pairs if name in mask_identifiers(sentence.format(name))]
    print(f"names: {len(pairs) - len(missed)} of {len(pairs)}; missed {missed}")
    assert len(missed) <= 0.02 * len(pairs)


@pytest.mark.parametrize(
    "text",
    [
        "Smith was pleased with the result.",
        "Okafor Adaeze attended clinic.",
        "It was removed on the fourteenth of March.",
        "He lives in Katy, Texas.",
        "Case reviewed at QA by JS/mt.",
    ],
)
def test_what_is_known_to_be_missed(text: str) -> None:
    """Names without a cue, dates in words, towns, initials: docs/intake.md says so. One that is found may move up."""
    assert mask_identifiers(text) == text


@pytest.mark.parametrize(
    "text",
    [
        FACTS,
        "Lymph nodes 3/12, 0/1 and (1/10); Gleason 3+4 = 7/10; 4/4 quadrants; levels 12-10; 5/15 positive.",
        "SNOMED CT 254837009, T-04000, M-85003, ICD-O 8140/3; HER2/neu 2+; S100, p63, CAM5.2; ratio 1.8; 90 mm; 95%.",
        "Dr. Frozen section was called. PATHOLOGIST: ADENOCARCINOMA OF THE COLON. Name: Histologic subtype.",
        "Primary Pathologist: Electronically Signed Out. Clinical History: Bladder cancer. May 5 sections be cut?",
        "TCGA-AA-3697 and C3L-00001 are cases; version 3.1.0.0; 7th edition; stage 2010; T4 N1; 89 year old man.",
        "Duke's B, Clark level IV, Sister Mary Joseph nodule, Bloom Richardson, van Gieson, Reed-Sternberg.",
        "1 Subcarinal LN (A1). 2 Above IMA LN 3 (A2). EXTENSION (2/65). MD Anderson grading; 12 cm St. Gallen 2013.",
        "2 Chest Wall, 3 Bladder Neck and 12 Lymph Nodes in place. In Spring 2019 ring 3 of the specimen, route IV.",
        "Block B1 2HE and 3 HE; A1, B2 3AB of +3 intensity; 0.12 345 678; Unit 2 of blood; a flat 3 mm lesion.",
        "Bladder: 12 x 8 x 3.5 cm. Sections: A1-A3 (2/3), B1 - B10; age 45; in 1998; TURBT x2.",
    ],
)
def test_clinical_facts_are_no_identifiers(text: str) -> None:
    assert mask_identifiers(text) == text


@pytest.mark.parametrize(
    "name", ["Anneliese Kowalczyk", "Solange Bertin", "G\u00f6ran Lindqvist", "Graziella de Santis"]
)
def test_rarer_first_names_show_a_name(name: str) -> None:
    assert mask_identifiers(f"We saw {name} in the clinic.") == "We saw [NAME] in the clinic."


@pytest.mark.parametrize(
    "text",
    [
        "The Vienna Classification, Banff Criteria, Milan System, Bethesda System and Lugano Staging were used.",
        "Nottingham Grade 2, Gleason Score 7, Fuhrman Grade III, Masson Trichrome, Barrett Mucosa, Graves Disease.",
        "Hodgkin Lymphoma, Crohn Colitis, Paget Cells, Ki Index, Merkel Cell, Ewing Sarcoma, Wilms Tumor.",
        "Florence Hospital, Victoria Clinic, Austin Texas, Geneva Switzerland, Charlotte North Carolina, Paris France.",
        "Leica Bond, Ventana Benchmark, Dako Omnis, Roche Cobas, Abbott Vysis, Allred Score, Oncotype Score.",
    ],
)
def test_eponyms_places_and_products_are_no_names(text: str) -> None:
    assert mask_identifiers(text) == text


def test_a_name_found_once_is_masked_everywhere() -> None:
    text = "Patient: Okafor, Adaeze. Lump of the left breast. Ms Okafor and ADAEZE were told; okafor's own words."
    assert "kafor" not in mask_identifiers(text).split("told")[0]
    assert "ADAEZE" not in mask_identifiers(text)


def test_what_a_file_states_of_its_patient_is_masked() -> None:
    known = Known(("Adaeze Okafor",), ("Q77",), ("5 Mai 58",))
    masked = mask_identifiers("Okafor came; Q77 since 5 Mai 58, Q770.", known)
    assert masked == "[NAME] came; [ID] since [DATE], Q770."


def test_an_address_without_punctuation_ends_where_the_report_begins() -> None:
    masked = mask_identifiers("Address: 12 Elm Street Invasive carcinoma, pT2, 3/12 nodes.")
    assert masked.endswith("Invasive carcinoma, pT2, 3/12 nodes.")
    assert "Elm" not in masked


@pytest.mark.parametrize(
    "address",
    [
        "Leonid-Neuschäfer-Weg 9, 84609 Göppingen",
        "Marjan-Mülichen-Platz 3/4, 10259 Osterode am Harz",
        "Zimmerring 3-4",
        "22, rue Caroline Brunet, 58208 Denisboeuf",
        "68, boulevard de Julien",
        "39 O'Brien Spurs, East Guyfort, B0W 7XQ",
        "Flat 4, Ruth Overpass, New Geraldview, IG30 9WW",
        "5697 John Pines, Jennifermouth, ID 27791",
        "241 King View Apt. 592, New Adrian, VT 63742",
        "31110 Bradley Mall",
        "PSC 4115, Box 7815, APO AA 41945",
    ],
)
def test_addresses_of_several_countries_and_nothing_round_them(address: str) -> None:
    assert mask_identifiers(f"pT2 pN0.\n{address}\nGrade 2.") == "pT2 pN0.\n[ADDRESS]\nGrade 2."


@pytest.mark.parametrize(
    "phone", ["316-438-8355x8697", "(447)395-8820", "(0115) 4960269", "+4429 2018909", "05017 75486"]
)
def test_telephone_numbers_that_nobody_has(phone: str) -> None:
    assert mask_identifiers(f"Please call {phone} soon.") == "Please call [PHONE] soon."


def test_counts() -> None:
    masked = mask_identifiers("Dr. Okafor, MRN: 123456, 03/14/2012 and 03/15/2012.")
    assert masked_counts(masked) == {"NAME": 1, "DATE": 2, "ID": 1}
    assert masked_counts("no identifiers [here]") == {}


PIECES = st.sampled_from([sentence.format(secret) for _, secret, sentence in PLANTED] + [FACTS, "\n", " ", "İ", "\0"])


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES | st.text(max_size=20), max_size=8).map(" ".join))
def test_masking_again_changes_nothing_of_what_was_masked(text: str) -> None:
    masked = mask_identifiers(text)
    again = mask_identifiers(masked)
    assert all(count <= masked_counts(again).get(kind, 0) for kind, count in masked_counts(masked).items())


def _reports(shared_data: Path) -> list[str]:
    texts = []
    for name in ("blca", "coadread", "stad"):
        with gzip.open(shared_data / "tcga" / f"{name}_reports.csv.gz", "rt", encoding="utf-8", newline="") as stream:
            texts += [row["text"] for row in csv.DictReader(stream)]
    return texts


def test_masking_leaves_the_record_of_every_real_report(shared_data: Path) -> None:
    reports = _reports(shared_data)
    begun = time.process_time()
    masked = [mask_identifiers(text) for text in reports]
    took = (time.process_time() - begun) / len(reports)
    changed = sum(extract_record(text) != extract_record(other) for text, other in zip(reports, masked, strict=True))
    print(f"{len(reports)} reports: {1e3 * took:.1f} ms each, {changed} records differ")
    assert len(reports) == 715
    assert changed == 0
    assert sum(map(len, masked)) > 0.999 * sum(map(len, reports))
    assert took < 0.02


def test_records_stay_with_identifiers_planted_in_real_reports(shared_data: Path) -> None:
    rng = random.Random(0)
    for text in _reports(shared_data)[::8]:
        planted = rng.sample(PLANTED, 3)
        marked = "\n".join([*(f"{sentence.format(secret)}" for _, secret, sentence in planted), text])
        masked = mask_identifiers(marked)
        head = masked.split("\n", 3)[:3]
        assert not any(secret in line for (_, secret, _), line in zip(planted, head, strict=True))
        assert extract_record(text) == extract_record(masked)
