from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mupd.base.rna_scales import ScaleName
from mupd.config import Config
from mupd.rna.gene_ids import GeneMapping, map_names, to_model_genes
from mupd.rna.gene_table import base_id, gene_table
from mupd.rna.profiles import RnaProfile
from mupd.sheet import read_sheet
from tests.fixtures.basic import GENES, counts_matrix
from tests.fixtures.intake import inventory_of

SYMBOLS = sorted(gene_table().symbols)
KNOWN = frozenset([*SYMBOLS[::3], "ATP5B"])
TP53, ERBB2 = "ENSG00000141510", "ENSG00000141736"


def profile(names: list[str], matrix: list[list[float]], values: ScaleName = "counts") -> RnaProfile:
    return RnaProfile(names, np.array(matrix, np.float32), "bulk", values, "test")


def ensembl_of(genes: tuple[str, ...]) -> list[str]:
    ids = {symbol: ensembl_id for ensembl_id, symbol in gene_table().ids.items()}
    return [ids[gene] for gene in genes]


def test_ids_with_and_without_version_become_symbols() -> None:
    names, mapping = map_names([TP53 + ".18", ERBB2, "ENSG00000000000.1"], ["TP53", "ERBB2"])
    assert names == ["TP53", "ERBB2", "ENSG00000000000.1"]
    assert mapping == GeneMapping(by_id=2, unknown=1)


def test_former_names_meet_either_way_round() -> None:
    assert map_names(["ATP5F1B", "SEPT9"], ["ATP5B", "SEPTIN9"])[0] == ["ATP5B", "SEPTIN9"]


def test_a_name_of_several_genes_is_not_used() -> None:
    ambiguous = next(name for name, symbol in gene_table().aliases.items() if symbol == "" and name.isalnum())
    everything = sorted(gene_table().symbols - {ambiguous})
    names, mapping = map_names([ambiguous], everything)
    assert names == [ambiguous]
    assert mapping == GeneMapping(ambiguous=1)
    assert mapping.words() == "1 names of several genes not used"


def test_a_former_name_beside_the_current_one_is_not_added_to_it() -> None:
    names, mapping = map_names(["ATP5B", "ATP5F1B"], ["ATP5F1B"])
    assert names == ["ATP5B", "ATP5F1B"]
    assert mapping == GeneMapping(same=1, shadowed=1)


@pytest.mark.parametrize(("values", "expected"), [("counts", 12.0), ("tpm", 12.0), ("log1p", 7.0)])
def test_ids_of_one_gene_are_added_up_and_logarithms_are_not(values: ScaleName, expected: float) -> None:
    given_ids = profile([TP53 + ".18", TP53 + ".18_PAR_Y", ERBB2], [[5, 7, 1]], values)
    mapped, mapping = to_model_genes(given_ids, ["ERBB2", "TP53"])
    assert mapped.genes == ["TP53", "ERBB2"]
    assert mapped.matrix.tolist() == [[expected, 1.0]]
    assert mapping.by_id == 3
    assert "3 Ensembl ids mapped to symbols" in mapped.evidence


def test_a_profile_in_the_models_names_stays_the_same_object() -> None:
    same = profile(["TP53", "NOT_A_GENE"], [[1, 2]])
    mapped, mapping = to_model_genes(same, ["TP53"])
    assert mapped is same
    assert mapping == GeneMapping(same=1, unknown=1)


@given(st.lists(st.sampled_from([*SYMBOLS[::200], TP53, "ATP5B", "nothing", "", "ENSG"]), max_size=30))
def test_every_name_is_counted_once_and_none_is_made_up(names: list[str]) -> None:
    mapped, mapping = map_names(names, KNOWN)
    assert sum(mapping.facts().values()) == len(names) == len(mapped)
    assert all(new == old or new in KNOWN for new, old in zip(mapped, names, strict=True))
    assert sum(name in KNOWN for name in mapped) == mapping.same + mapping.by_id + mapping.by_former_name


@given(st.sampled_from(sorted(gene_table().ids)), st.integers(1, 99))
def test_versions_are_no_part_of_an_id(ensembl_id: str, version: int) -> None:
    assert base_id(f"{ensembl_id}.{version}") == base_id(f"{ensembl_id}_PAR_Y") == ensembl_id


def test_former_symbols_of_an_approved_one_do_not_take_it_over() -> None:
    table = gene_table()
    both = table.symbols.intersection(table.previous)
    assert both
    assert all(table.symbol_of(name) == name for name in both)


def test_spots_of_the_public_data_reach_nearly_all_symbols(shared_data: Path) -> None:
    columns = list(pd.read_csv(shared_data / "her2st" / "counts" / "B4.tsv.gz", sep="\t", nrows=1, index_col=0).columns)
    _, mapping = map_names(columns, gene_table().symbols)
    assert (mapping.same + mapping.by_former_name + mapping.by_id) / len(columns) > 0.93


def test_intake_maps_ids_and_says_how_many(
    tmp_path: Path, write_sheet: Callable[..., Path], make_config: Callable[..., Config]
) -> None:
    ids = [f"{name}.7" for name in ensembl_of(GENES)]
    ad.AnnData(counts_matrix().astype(np.float32), var=pd.DataFrame(index=ids)).write_h5ad(tmp_path / "a.h5ad")
    mouse = [f"ENSMUSG{number:011}" for number in range(len(GENES))]
    ad.AnnData(counts_matrix().astype(np.float32), var=pd.DataFrame(index=mouse)).write_h5ad(tmp_path / "m.h5ad")
    sheet = write_sheet([{"case_id": "A", "rna": "a.h5ad"}, {"case_id": "M", "rna": "m.h5ad"}])
    config = make_config(sheet)
    entries: dict[str, Any] = {
        case.case_id: inventory_of(case, config, GENES).entries["rna"] for case in read_sheet(config).cases
    }
    assert entries["A"].status == "measured"
    assert entries["A"].facts["gene_names"]["by_id"] == len(GENES)
    assert entries["A"].facts["genes_in_model"] == len(GENES)
    assert entries["M"].status == "unusable"
    assert "another species" in entries["M"].reason
