import json
import sys

import pytest

from .conftest import rows_of, write_csv

MAP = "m=M,n=N,k=K,latency_us=time_ms*1000"
GEMM = ("--op", "gemm", "--device", "h100-sxm", "--dtype", "bf16")


def test_columns_are_renamed_scaled_and_completed(gemm_csv, imported, tmp_path):
    record = imported("csv", gemm_csv, *GEMM, "--map", MAP + ",backend='vllm',b=3")
    assert record["tables"] == {"gemm": {"h100-sxm": 2}}
    assert rows_of(tmp_path / "out" / "gemm.parquet")[0] == {
        "device": "h100-sxm",
        "source": "mine",
        "backend": "vllm",
        "dtype": "bf16",
        "m": 16,
        "n": 32,
        "k": 64,
        "b": 3,
        "latency_us": 0.5 * 1000,
    }


def test_columns_that_have_the_right_names_need_no_map(imported, tmp_path):
    file = write_csv(
        tmp_path / "x.csv",
        [{"device": "a", "dtype": "fp8", "m": 1, "n": 2, "k": 3, "latency_us": 4, "comment": "warm"}],
        delimiter=";",
    )
    imported("csv", file, "--op", "gemm", "--label", "lab")
    assert rows_of(tmp_path / "out" / "gemm.parquet") == [
        {"device": "a", "source": "lab", "dtype": "fp8", "m": 1, "n": 2, "k": 3, "latency_us": 4.0}
    ]


def test_quoted_names_and_division(imported, tmp_path):
    file = write_csv(tmp_path / "x.csv", [{"m": 1, "n": 2, "k": 3, "time (ns), mean": 500}])
    imported("csv", file, *GEMM, "--map", 'latency_us="time (ns), mean"/1000')
    assert rows_of(tmp_path / "out" / "gemm.parquet")[0]["latency_us"] == pytest.approx(500 / 1000)


def test_rows_that_cannot_be_read_are_counted_by_reason(cli, tmp_path):
    rows = [
        {"m": 8, "n": 8, "k": 8, "latency_us": 1},
        {"m": "", "n": 8, "k": 8, "latency_us": 1},
        {"m": "many", "n": 8, "k": 8, "latency_us": 1},
        {"m": 8, "n": 8.5, "k": 8, "latency_us": 1},
        {"m": 8, "n": 8, "k": 8, "latency_us": ""},
    ]
    file = write_csv(tmp_path / "x.csv", rows)
    result = cli("data", "import", "csv", str(file), *GEMM, "-o", str(tmp_path / "out"))
    assert result.code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["imports"][0]
    assert manifest["skipped"] == {
        "m is missing or no number": 2,
        "n is no whole number from 1": 1,
        "latency_us is missing or no number": 1,
    }
    assert manifest["rows_read"] == manifest["rows_written"] + manifest["rows_skipped"] == len(rows)
    assert "skipped 2 measurements: m is missing or no number" in result.stderr
    assert result.stdout.splitlines()[-1].startswith("1 rows in ")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["--op: is missing", "Name one of: gemm, "]),
        (["--op", "gem"], ["--op: there is no table 'gem'", "'gemm'"]),
        (["--op", "gemm", "--op", "moe"], ["--op: is given more than once"]),
        (
            ["--op", "gemm"],
            ["has no column device, dtype, m, n, k, latency_us", "Give --device and --dtype", "m=COLUMN"],
        ),
        ([*GEMM, "--map", "m=MM"], ["--map m: the file has no column 'MM'", "Did you mean 'M'?"]),
        ([*GEMM, "--map", "latency=time_ms"], ["the table 'gemm' has no such column", "'latency_us'"]),
        ([*GEMM, "--map", "m=M,m=N"], ["maps m a second time"]),
        ([*GEMM, "--map", "k=K*x"], ["--map k=K*x: is not understood"]),
        ([*GEMM, "--map", "=K"], ["--map =K: is not understood"]),
        ([*GEMM, "--map", MAP.replace("=M", "='M'")], ["--map m: holds numbers, not 'M'"]),
        ([*GEMM, "--map", MAP + ",backend=N*2"], ["--map backend: holds names, which have no factor"]),
        ([*GEMM, "--map", MAP + ",dtype='fp8'"], ["--dtype bf16: the map gives dtype too"]),
        ([*GEMM, "--device", "b", "--map", MAP], ["--device: is given more than once"]),
        ([*GEMM, "--map", MAP.replace("1000", "-1")], ["row 2: latency_us is -0.5", "above 0 (rows like it: 2)"]),
    ],
)
def test_each_mistake_is_one_clear_error(gemm_csv, refused, args, parts):
    message = refused("csv", gemm_csv, *args)
    for part in parts:
        assert part in message


def test_all_mistakes_of_a_map_come_at_once(gemm_csv, refused):
    message = refused("csv", gemm_csv, *GEMM, "--map", "m=A,n=B,latency=time_ms")
    assert len(message.splitlines()) == len(["m", "n", "latency", "columns that are missing"])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty"),
        (b"m,n,k\n", "has a line of names, but no rows"),
        (b"m,m,k\n1,2,3\n", "has two columns 'm'"),
        (b"m,n,k\n1,2\n", "row 2 has 2 cells where the first has 3 names"),
        (b"PAR1\x15\xff\xfe", "is not UTF-8 text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ],
)
def test_files_that_are_no_tables(tmp_path, refused, content, part):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    assert part in refused("csv", file, *GEMM)


def test_paths_that_are_no_files(tmp_path, refused):
    assert "does not exist" in refused("csv", tmp_path / "none.csv", *GEMM)
    assert "is a folder" in refused("csv", tmp_path, *GEMM)


def test_an_unknown_source_is_named_with_the_nearest(gemm_csv, refused):
    assert "cvs: is no source of measurements. Did you mean 'csv'?" in refused("cvs", gemm_csv, "--map", MAP)


def test_a_map_is_for_csv_only(gemm_csv, refused):
    assert "--map: vidur says itself" in refused("vidur", gemm_csv, "--map", MAP)


def test_without_pyarrow_the_extra_is_named(gemm_csv, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'gambrel[arrow]'" in refused("csv", gemm_csv, *GEMM, "--map", MAP)
