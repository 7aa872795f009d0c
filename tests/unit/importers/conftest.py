"""Tiny trees in the layouts of the sources, made up here."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, without the columns that are empty in each."""
    return [{k: v for k, v in row.items() if v is not None} for row in parquet.read_table(path).to_pylist()]


@pytest.fixture
def imported(cli: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Import into `tmp_path/out` and return the newest import of the manifest; the command must succeed."""

    def run(*args: object) -> dict[str, Any]:
        result = cli("data", "import", *map(str, args), "-o", str(tmp_path / "out"), "--format", "json")
        assert result.code == 0, result.stderr
        printed = json.loads(result.stdout)
        assert printed == json.loads((tmp_path / "out" / "manifest.json").read_text())
        return printed["imports"][-1]

    return run


@pytest.fixture
def refused(cli: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Import into `tmp_path/out`, which must fail with messages and leave nothing; returns them."""

    def run(*args: object, out: str = "out") -> str:
        before = sorted(p.name for p in (tmp_path / out).iterdir()) if (tmp_path / out).is_dir() else None
        result = cli("data", "import", *map(str, args), "-o", str(tmp_path / out))
        assert (result.code, result.stdout) == (2, ""), result
        after = sorted(p.name for p in (tmp_path / out).iterdir()) if (tmp_path / out).is_dir() else None
        assert after == before
        return "\n".join(line for line in result.stderr.splitlines() if line.startswith("error: "))

    return run


@pytest.fixture
def gemm_csv(tmp_path: Path) -> Path:
    return write_csv(
        tmp_path / "mine.csv",
        [{"M": 16, "N": 32, "K": 64, "time_ms": 0.5}, {"M": 128, "N": 256, "K": 512, "time_ms": 0.75}],
    )
