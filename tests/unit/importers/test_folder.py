"""What happens to the folder that an import writes to."""

import json

import pytest

from .conftest import rows_of, write_csv, write_parquet

MAP = "m=M,n=N,k=K,latency_us=time_ms*1000"


def options(dtype):
    return ("--op", "gemm", "--device", "h100-sxm", "--dtype", dtype, "--map", MAP)


def dtypes(tmp_path):
    return [row["dtype"] for row in rows_of(tmp_path / "out" / "gemm.parquet")]


def test_nothing_is_overwritten_unless_asked(gemm_csv, imported, refused, tmp_path):
    imported("csv", gemm_csv, *options("bf16"))
    assert "--append" in refused("csv", gemm_csv, *options("fp8"))
    assert dtypes(tmp_path) == ["bf16"] * 2
    imported("csv", gemm_csv, *options("fp8"), "--force")
    assert dtypes(tmp_path) == ["fp8"] * 2


def test_append_and_force_exclude_each_other(gemm_csv, refused):
    assert "do not go together" in refused("csv", gemm_csv, *options("fp8"), "--force", "--append")


def test_an_append_keeps_what_is_there(gemm_csv, imported, tmp_path):
    imported("csv", gemm_csv, *options("bf16"))
    imported("csv", gemm_csv, *options("fp8"), "--append")
    assert dtypes(tmp_path) == ["bf16"] * 2 + ["fp8"] * 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [each["rows_written"] for each in manifest["imports"]] == [2, 2]


def test_the_same_import_twice_changes_nothing(cli, gemm_csv, imported, tmp_path):
    imported("csv", gemm_csv, *options("bf16"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = cli("data", "import", "csv", str(gemm_csv), *options("bf16"), "--append", "-o", str(tmp_path / "out"))
    assert result.code == 0
    assert result.stdout.startswith("nothing new for ")
    assert "skipped 2 measurements: imported before" in result.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_append_continues_a_table_of_other_types_and_columns(gemm_csv, imported, tmp_path):
    old = {
        "device": "X",
        "dtype": "fp16",
        "m": 1.0,
        "n": 2.0,
        "k": 3.0,
        "latency_us": 4.0,
        "note": "n",
        "backend": None,
    }
    write_parquet(tmp_path / "out" / "gemm.parquet", [old])
    imported("csv", gemm_csv, *options("bf16"), "--append")
    rows = rows_of(tmp_path / "out" / "gemm.parquet")
    assert rows[0] == {name: value for name, value in old.items() if value is not None}
    assert [row["m"] for row in rows] == [1.0, 16.0, 128.0]


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"no parquet", "is no Parquet file"), (None, "its column 'm' is")],
)
def test_an_append_to_something_else_is_refused(gemm_csv, refused, tmp_path, content, part):
    path = write_parquet(tmp_path / "out" / "gemm.parquet", [{"m": [1, 2]}])
    if content:
        path.write_bytes(content)
    before = path.read_bytes()
    assert part in refused("csv", gemm_csv, *options("bf16"), "--append")
    assert path.read_bytes() == before


def test_force_removes_tables_of_the_import_that_it_replaces_and_nothing_else(gemm_csv, imported, tmp_path):
    rows = [{"device": "a", "dtype": "fp16", "op": "add", "rows": 1, "cols": 2, "latency_us": 3}]
    imported("csv", write_csv(tmp_path / "adds.csv", rows), "--op", "memory_bound")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_parquet(tmp_path / "out" / "conv.parquet", [{"mine": 1}])
    imported("csv", gemm_csv, *options("bf16"), "--force")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "conv.parquet",
        "gemm.parquet",
        "manifest.json",
        "notes.txt",
    ]


def test_the_folder_must_be_one(gemm_csv, refused, tmp_path):
    (tmp_path / "file").write_text("")
    result = refused("csv", gemm_csv, *options("bf16"), out="file")
    assert "is a file" in result
    assert "cannot be made" in refused("csv", gemm_csv, *options("bf16"), out="file/below")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_a_manifest_of_something_else_is_not_overwritten(gemm_csv, refused, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(text)
    assert "manifest.json" in refused("csv", gemm_csv, *options("bf16"), "--append")
    assert (tmp_path / "out" / "manifest.json").read_text() == text
