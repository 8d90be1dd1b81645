"""How fast RNA inputs are read and checked: ``python -m benchmarks.rna_inputs [--cases 10000]``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.rna_inputs.measure import measure, write_table, write_tenx


def main() -> None:
    """Make inputs in a temporary folder and measure each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="rows of the tables of 1,577 genes")
    cases = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in (".h5ad", ".csv.gz"):
            write_table(folder / f"table{suffix}", cases, 1577)
        write_table(folder / "wide.h5ad", 4000, 20_000)
        write_tenx(folder / "visium", 4992, 36_000, 3000, placed=True)
        write_tenx(folder / "cells", 50_000, 36_000, 2000, placed=False)
        print("| read and checked | seconds | MB | evidence |\n| --- | --- | --- | --- |")
        for suffix in (".h5ad", ".csv.gz"):
            measure(f"{cases} rows of a table of 1,577 genes, {suffix}", folder / f"table{suffix}", cases)
        measure("1000 rows of a table of 4,000 x 20,000, .h5ad", folder / "wide.h5ad", 1000)
        measure("a section of 4,992 spots, 36,000 genes", folder / "visium")
        measure("50,000 cells, 36,000 genes", folder / "cells")


if __name__ == "__main__":
    main()
