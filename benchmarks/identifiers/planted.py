"""Identifiers made by Faker in sentences of reports; the rules were written without looking at them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR")
_DATES = {
    "en_US": ("%m/%d/%Y", "%m/%d/%y", "%B %d, %Y", "%d-%b-%Y"),
    "en_GB": ("%d/%m/%Y", "%d.%m.%Y", "%d %B %Y", "%d-%b-%y"),
    "de_DE": ("%d.%m.%Y", "%d.%m.%y", "%Y-%m-%d", "%d. {month} %Y"),
    "fr_FR": ("%d/%m/%Y", "%d/%m/%y", "%Y-%m-%d", "%d {month} %Y"),
}
_MONTHS = {
    "de_DE": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(),  # noqa: SIM905
    "fr_FR": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),  # noqa: SIM905
}
_NUMBERS = ("#######", "??-##-#####", "S##-#####", "########", "???######", "##-??-####")
SENTENCES = {
    "NAME, with a label or title": (
        "Patient: {}",
        "Referring physician: {}",
        "The result was called to Dr. {} at noon.",
        "Reported by {}, MD, and reviewed at the tumour board.",
    ),
    "NAME, bare": (
        "{} underwent a wide local excision of the left breast.",
        "We saw {} in the clinic after surgery.",
    ),
    "DATE": ("Specimen received {} in formalin.", "Biopsy of {} showed the same tumour.", "DOB: {}"),
    "PHONE": ("Phone: {}", "Please call {} with questions."),
    "EMAIL": ("Copy sent to {} on request.",),
    "ADDRESS": ("Address: {}", "The patient lives at {}, with family.", "{}"),
    "ID": ("MRN: {}", "Accession number {}, two blocks.", "Case no. {} was compared."),
}


@dataclass(frozen=True)
class Planted:
    """One identifier: its group, its locale, the line it stands in."""

    group: str
    locale: str
    secret: str
    line: str


def _makers(fake: Any, locale: str, draw: random.Random) -> dict[str, Callable[[], str]]:
    def date() -> str:
        day, form = fake.date_between("-70y", "-1d"), draw.choice(_DATES[locale])
        return str(day.strftime(form.replace("{month}", _MONTHS[locale][day.month - 1] if locale in _MONTHS else "")))

    def name() -> str:
        return f"{fake.first_name()} {fake.last_name()}"

    def address() -> str:
        whole = draw.random() < 0.5
        return str(fake.address() if whole else fake.street_address()).replace("\n", ", ")

    return {
        "NAME, with a label or title": name,
        "NAME, bare": name,
        "DATE": date,
        "PHONE": lambda: str(fake.phone_number()),
        "EMAIL": lambda: str(fake.email()),
        "ADDRESS": address,
        "ID": lambda: str(fake.bothify(draw.choice(_NUMBERS), letters="ABCDEFGHJKLMNPQRSTUVWXYZ")),
    }


def planted(seed: int, count: int) -> Iterator[Planted]:
    """`count` identifiers of each group and locale."""
    from faker import Faker

    for locale in LOCALES:
        fake, draw = Faker(locale), random.Random(seed)
        fake.seed_instance(seed)
        makers = _makers(fake, locale, draw)
        for group, sentences in SENTENCES.items():
            for _ in range(count):
                secret = makers[group]()
                yield Planted(group, locale, secret, draw.choice(sentences).format(secret))
