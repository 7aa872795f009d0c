"""The plans of a run's folder: Parquet parts, and a manifest that says what was asked."""

# pyarrow has no type stubs: what it returns is unknown to a type checker, and stays inside this file.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gambrel.errors import Problem, UsageError
from gambrel.estimation.table import Cell
from gambrel.report.asked import Asked
from gambrel.report.make import plan_of
from gambrel.report.points import Array, Flags

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.dataset

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuestion:
    """What the rows of a run have in common.

    Attributes:
        model: Library name or path.
        overrides: What-ifs on the machines, a list of texts for each path.
        allow_unpriced: Whether ops without a cost rule may pass.
        lists: Where the rows are the product of lists, these by name, the outermost first; else empty.
    """

    model: str
    overrides: Mapping[str, Sequence[str]]
    allow_unpriced: bool
    lists: Mapping[str, Sequence[Cell]]


class RunSource:
    """All finished rows of a run; columns are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the manifest.

        Raises:
            UsageError: The folder holds no run, none of its parts is finished, or pyarrow is not installed.
        """
        manifest = _read(folder / MANIFEST)
        self.folder = folder
        self.question, parts = _question(folder, manifest)
        if not parts:
            raise UsageError(Problem(where=str(folder), what="no part of the run is finished"))
        self._first_rows = [first for _, first in parts]
        self._dataset = _open([folder / name for name, _ in parts])
        self._starts = np.cumsum([0, *(fragment.count_rows() for fragment in self._dataset.get_fragments())])
        self._names = frozenset(self._dataset.schema.names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def numbers(self, name: str) -> Array:
        """As in Source."""
        if name not in self._names:
            return np.full(len(self), np.nan)
        column = self._column(name)
        return np.asarray(column.cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64)

    def is_status(self, status: str) -> Flags:
        """As in Source."""
        import pyarrow.compute

        return np.asarray(pyarrow.compute.equal(self._column("status").cast("string"), status), dtype=np.bool_)

    def records(self, numbers: Sequence[int]) -> list[Mapping[str, Cell]]:
        """As in Source; `on` is called `machine` here."""
        table = self._dataset.take(list(numbers))
        names = ["machine" if name == "on" else name for name in table.column_names]
        return cast("list[Mapping[str, Cell]]", table.rename_columns(names).to_pylist())

    def asked(self, number: int) -> Asked:
        """The question of one row in full."""
        (cells,) = self.records([number])
        workload, plan = plan_of(cells)
        return Asked(
            model=self.question.model,
            on=str(cells["machine"]),
            workload=workload,
            plan=plan,
            overrides=tuple(f"{path}={text}" for path, text in self._overrides(number).items()),
            allow_unpriced=self.question.allow_unpriced,
        )

    def _overrides(self, number: int) -> dict[str, str]:
        """The what-ifs of one row: the digits of its place in the product of all lists say which."""
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        place = self._first_rows[part] + number - int(self._starts[part])
        digits: dict[str, int] = {}
        for name, values in reversed(list(self.question.lists.items())):
            place, digits[name] = divmod(place, len(values))
        return {path: texts[digits.get(path, 0)] for path, texts in self.question.overrides.items()}

    def _column(self, name: str) -> "pyarrow.ChunkedArray":
        return self._dataset.to_table(columns=[name]).column(0)


def _open(paths: Sequence[Path]) -> "pyarrow.dataset.Dataset":
    try:
        import pyarrow.dataset
    except ImportError:
        fix = "Install the extra: pip install 'gambrel[arrow]'"
        raise UsageError(Problem(where="pyarrow", what="is not installed", why="it reads runs", fix=fix)) from None
    try:
        return pyarrow.dataset.dataset(list(map(str, paths)), format="parquet")
    except (OSError, ValueError) as error:
        raise UsageError(Problem(where=str(paths[0].parent), what=f"cannot be read: {error}")) from None


def _read(path: Path) -> Mapping[str, object]:
    try:
        record: object = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        folder = path.parent
        what = f"holds no run: no {MANIFEST}" if folder.is_dir() else "is no folder"
        fix = "Give the folder that a sweep or a search wrote; for a model, name a machine: --on h100-sxm"
        raise UsageError(Problem(where=str(folder), what=what, fix=fix)) from None
    except (OSError, ValueError) as error:
        raise UsageError(Problem(where=str(path), what=f"cannot be read: {error}")) from None
    if not isinstance(record, dict):
        raise UsageError(Problem(where=str(path), what="is not the manifest of a run"))
    return cast(Mapping[str, object], record)


def _question(folder: Path, manifest: Mapping[str, object]) -> tuple[RunQuestion, list[tuple[str, int]]]:
    """What was asked, and the finished parts: their files, and the place of their first rows."""
    try:
        asked = cast(Mapping[str, object], manifest["question"])
        parts = cast("Sequence[Mapping[str, object]]", manifest["parts"])
        overrides = cast(Mapping[str, Sequence[str]], asked.get("overrides") or {})
        question = RunQuestion(
            model=str(asked["model"]),
            overrides={path: tuple(map(str, texts)) for path, texts in overrides.items()},
            allow_unpriced=bool(asked.get("allow_unpriced", False)),
            lists=_lists(asked, cast(Sequence[str], manifest.get("row_order") or ()), overrides),
        )
        return question, [(str(part["file"]), int(str(part["first_row"]))) for part in parts]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        where = str(folder / MANIFEST)
        raise UsageError(Problem(where=where, what="is not the manifest of a run", why=str(error))) from None


def _lists(
    asked: Mapping[str, object], order: Sequence[str], overrides: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[Cell]]:
    """The lists whose product the rows are; what is not listed has one value."""
    columns = cast(Mapping[str, Sequence[Cell]], asked.get("columns") or {})
    given = {"on": asked.get("on"), "devices": asked.get("devices"), **columns, **overrides}
    return {name: cast("Sequence[Cell]", given.get(name) or (None,)) for name in order}
