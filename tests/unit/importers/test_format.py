"""What imports write is what calibration and accuracy read."""

import pytest

from gambrel.calibration.importers.tables import TABLES
from gambrel.calibration.tables import OPERATIONS, read_table

from .conftest import parquet, write_csv

EVERY_ROW = {"device", "source", "latency_us"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_rows_are_required_to_have_what_an_operation_needs(name):
    needed = [{column.name, *column.aliases} for column in OPERATIONS[name].columns if column.default is None]
    required = {field.name for field in TABLES[name].values() if field.required} - EVERY_ROW
    assert [names for names in needed if not names & required] == []


def test_an_imported_table_is_read_without_complaint(imported, tmp_path):
    row = {"device": "h100-sxm", "dtype": "bf16", "m": 16, "n": 32, "k": 64, "latency_us": 5.0}
    imported("csv", write_csv(tmp_path / "x.csv", [row]), "--op", "gemm")
    read = read_table(OPERATIONS["gemm"], parquet.read_table(tmp_path / "out" / "gemm.parquet"))
    assert read.problems == ()
    assert read.valid.tolist() == [True]
    assert read.rows.numbers["b"].tolist() == [1.0]
