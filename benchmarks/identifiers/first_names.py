"""``python -m benchmarks.identifiers.first_names DATA``: write ``mupd/reports/deidentify/first_names.txt`` anew.

The names are those of mimesis (MIT), which is no dependency: give its folder by ``PYTHONPATH``. Left out are short ones
and words that stand in the real reports, that are eponyms, or that name places.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

from benchmarks.command import REPOSITORY
from mupd.base.files import atomic_path
from mupd.reports.deidentify.word_lists import EPONYMS, FIRST_NAMES, no_name

LOCALES = "en en-gb en-au en-ca de de-at de-ch fr es it nl pl pt sv tr cs da no fi".split()  # noqa: SIM905
LEAST_LETTERS = 4
OUT = REPOSITORY / "mupd" / "reports" / "deidentify" / "first_names.txt"
HEAD = """\
First names in small letters, one a line: those of mimesis {version} (github.com/lk-geimfari/mimesis) in
{locales},
without short ones, words of real reports, eponyms and places. Written by benchmarks/identifiers/first_names.py.

{licence}"""
PLACES = frozenset(
    """
    africa albany alexandria america arizona asia atlanta austin berlin bethesda bologna boston brooklyn california
    cairo carolina charlotte chelsea chester cleveland colorado columbia cordoba dakota dallas denver detroit devon
    dublin eden essex europe florence florida georgia geneva havana holland houston india indiana ireland israel italy
    jackson jersey jordan kent kenya kingston leeds lincoln london lourdes lugano lyon madison madrid malta melbourne
    memphis mexico miami milan milano montana montreal munich naples nevada orlando oslo oxford paris phoenix
    portland regina rochester rome salem savannah scotland sheffield siena spain stanford surrey sydney tampa texas
    toronto trenton troy valencia venice verona victoria vienna virginia warsaw washington windsor worcester york
    """.split()  # noqa: SIM905
)


def _words(names: object) -> Iterator[str]:
    if isinstance(names, dict):
        for part in names.values():
            yield from _words(part)
    elif isinstance(names, list):
        yield from (str(name).lower() for name in names)


def of_mimesis() -> set[str]:
    """First names of :data:`LOCALES`, in small letters."""
    names: set[str] = set()
    for locale in LOCALES:
        person = resources.files("mimesis") / "datasets" / locale / "person.json"
        names.update(_words(json.loads(person.read_text("utf-8"))["names"]))
    return names


def words_of_reports(data: Path) -> set[str]:
    """Words of three letters or more in the real reports, in small letters."""
    import pandas as pd

    words: set[str] = set()
    for path in sorted((data / "tcga").rglob("*_reports.csv.gz")):
        for text in pd.read_csv(path)["text"].astype(str):
            words.update(re.findall(r"[a-z]{3,}", text.lower()))
    return words


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identifiers.first_names", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the real data, e.g. ../shared/data")
    names = of_mimesis() - words_of_reports(parser.parse_args().data) - EPONYMS - PLACES - FIRST_NAMES
    kept = sorted(n for n in names if len(n) >= LEAST_LETTERS and re.fullmatch(r"[^\W\d_]+", n) and not no_name(n))
    mimesis = metadata.distribution("mimesis")
    licence = mimesis.read_text("licenses/LICENSE") or ""
    lines = HEAD.format(version=mimesis.version, locales=", ".join(LOCALES), licence=licence).splitlines()
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    with atomic_path(OUT) as temporary:
        temporary.write_text(head + "\n".join(kept) + "\n", "utf-8")
    print(f"{OUT}: {len(kept)} names")


if __name__ == "__main__":
    main()
