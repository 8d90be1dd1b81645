"""The sample sheet: rows, columns, paths, and where each modality of a case comes from."""

from mupd.sheet.cases import Sheet, SheetCase, cases_by_shard, cases_of_shard, filled_shards
from mupd.sheet.read import read_sheet

__all__ = ["Sheet", "SheetCase", "cases_by_shard", "cases_of_shard", "filled_shards", "read_sheet"]
