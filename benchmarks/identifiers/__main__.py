"""``python -m benchmarks.identifiers``: recall on identifiers made by Faker, and what is masked in real reports.

Faker is no dependency: ``pip install faker`` into a scratch environment, or give its folder by ``PYTHONPATH``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.command import add_data, add_docs, parser_of
from benchmarks.identifiers.planted import LOCALES, SENTENCES, Planted, planted
from benchmarks.pages import fill, table
from mupd.reports.deidentify.mask import KINDS, mask_identifiers, masked_counts

START, END = "<!-- identifiers: begin -->", "<!-- identifiers: end -->"
BEFORE = "Final diagnosis: invasive ductal carcinoma of the breast, grade 2.\n"
AFTER = "\nTwo of fourteen lymph nodes contain metastatic carcinoma (2/14). ER positive, 90 %."


def is_masked(item: Planted) -> bool:
    """Whether no word or number of three characters of the secret is left, and the rest of the report is."""
    masked = mask_identifiers(BEFORE + item.line + AFTER)
    if not (masked.startswith(BEFORE) and masked.endswith(AFTER)):
        return False
    left = masked.removeprefix(BEFORE).removesuffix(AFTER)
    return not any(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", left) for part in re.findall(r"\w{3,}", item.secret))


def recall_table(seed: int, count: int, show: int) -> str:
    masked: dict[str, Counter[str]] = defaultdict(Counter)
    missed: dict[str, list[str]] = defaultdict(list)
    for item in planted(seed, count):
        hit = is_masked(item)
        masked[item.group][item.locale] += hit
        if not hit:
            missed[f"{item.group} {item.locale}"].append(item.line)
    for name, lines in missed.items() if show else ():
        print(name, *(f"\n    {line!r} -> {mask_identifiers(line)!r}" for line in lines[:show]))
    rows = [(group, *(f"{masked[group][locale]} of {count}" for locale in LOCALES)) for group in SENTENCES]
    return table(("planted", *LOCALES), rows, numbers=len(LOCALES))


def real_table(data: Path) -> str:
    """Masks in the real reports, which were de-identified before they were published."""
    import pandas as pd

    counts: Counter[str] = Counter()
    words = reports = touched = 0
    for path in sorted(data.glob("tcga/*_reports.csv.gz")):
        for text in pd.read_csv(path)["text"].astype(str):
            of_report = masked_counts(mask_identifiers(text))
            counts.update(of_report)
            touched += bool(of_report)
            words += len(text.split())
            reports += 1
    rows = [(f"`[{kind}]`", counts[kind], f"{1000 * counts[kind] / words:.2f}") for kind in KINDS if counts[kind]]
    head = (f"mask, in {reports} real reports of {words:,} words", "masks", "for 1,000 words")
    return f"{table(head, rows, numbers=2)}\n\n{touched} of the {reports} reports have any."


def main() -> None:
    parser = parser_of("identifiers", __doc__ or "")
    parser.add_argument("--seed", type=int, default=2, help="1 was looked at to mend the rules, 2 was held out")
    parser.add_argument("--count", type=int, default=150, help="identifiers of each kind and locale")
    parser.add_argument("--show", type=int, default=0, help="print so many of the missed ones of each kind and locale")
    add_data(parser, "tcga/")
    add_docs(parser)
    options = parser.parse_args()
    tables = recall_table(options.seed, options.count, options.show)
    if (options.data / "tcga").is_dir():
        tables += "\n\n" + real_table(options.data)
    print(tables)
    if options.docs:
        fill(options.docs, {(START, END): tables})


if __name__ == "__main__":
    main()
