"""The manifest of a sweep: what was asked of which version and inputs, and which parts are finished."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from gambrel.errors import Problem, UsageError
from gambrel.search.axes import Part, Parts
from gambrel.search.question import Question, read_question

SCHEMA = 1

Inputs = Mapping[str, Mapping[str, str]]
"""Hashes of what names stand for, by kind (`model`, `on`, `engine`) and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One finished part.

    Attributes:
        number: Of the part.
        file: Its name in the folder.
        first_row: Rows count from 0.
        rows: How many.
        bytes: Size of the file.
        sha256: Of the file.
        ok: Rows that run.
        does_not_fit: Rows that would run with more memory.
        cannot_run: The others; their status says why.
    """

    number: int
    file: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    ok: int
    does_not_fit: int
    cannot_run: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder holds.

    Attributes:
        question: What was asked.
        inputs: Hashes of what its names stood for.
        version: Of the program that answers it.
        part_rows: Most rows of a part.
        parts: Finished ones, in order.
    """

    question: Question
    inputs: Inputs
    version: str
    part_rows: int
    parts: tuple[PartRecord, ...] = ()

    @cached_property
    def layout(self) -> Parts:
        """All parts, finished or not."""
        return self.question.axes.parts(self.part_rows)

    @property
    def status(self) -> Literal["complete", "unfinished"]:
        """Whether all parts are there."""
        return "complete" if len(self.parts) == len(self.layout) else "unfinished"

    @cached_property
    def identity(self) -> str:
        """By which parts know their sweep: what decides their content."""
        known = (self.question.record(), self.inputs, self.version, self.part_rows)
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def note(self, part: Part) -> dict[str, object]:
        """What a part says of itself in its metadata."""
        return {"sweep": self.identity, "first_row": part.first_row, "rows": part.rows}

    def record(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "schema": SCHEMA,
            "status": self.status,
            "version": self.version,
            "question": self.question.record(),
            "inputs": self.inputs,
            "rows": self.question.axes.rows,
            "row_order": list(self.question.axes.lists),
            "part_rows": self.part_rows,
            "num_parts": len(self.layout),
            "parts": [asdict(part) for part in self.parts],
        }


def part_name(number: int) -> str:
    """The file of a part."""
    return f"part-{number:06d}.parquet"


def part_number(name: str) -> int | None:
    """The part that a file is, by its name; None where it is none."""
    digits = name.removeprefix("part-").removesuffix(".parquet")
    return int(digits) if digits.isdecimal() and part_name(int(digits)) == name else None


def differences(there: Manifest, here: Manifest) -> Iterator[str]:
    """What tells two sweeps apart, in words."""
    its, mine = there.question, here.question
    for name in ("model", "on", "devices", "allow_unpriced"):
        yield from _changes("", {name: getattr(its, name)}, {name: getattr(mine, name)})
    yield from _changes("", its.columns, mine.columns)
    yield from _changes("--set ", its.overrides, mine.overrides)
    for kind in here.inputs:
        yield from _changes(f"hash of {kind} ", there.inputs.get(kind, {}), here.inputs[kind])
    numbers = ({"version": each.version, "part_rows": each.part_rows} for each in (there, here))
    yield from _changes("", *numbers)


def _changes(prefix: str, there: Mapping[str, object], here: Mapping[str, object]) -> Iterator[str]:
    for key in dict.fromkeys((*there, *here)):
        if there.get(key) != here.get(key):
            yield f"{prefix}{key} is {_short(there.get(key))} there, {_short(here.get(key))} here"


def _short(value: object) -> str:
    text = "not given" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        UsageError: It cannot be read, or is none of this program.
    """
    try:
        return parse_manifest(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(Problem(where=str(path), what=f"cannot be read: {error.strerror or error}")) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what, why = "is not the manifest of a sweep", f"{type(error).__name__}: {error}"
        raise UsageError(Problem(where=str(path), what=what, why=why)) from None


def parse_manifest(text: str) -> Manifest:
    """The manifest that a JSON text is.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    record = cast(dict[str, object], json.loads(text))
    if record["schema"] != SCHEMA:
        raise ValueError(f"schema {record['schema']} is not {SCHEMA}")
    parts = cast("list[dict[str, object]]", record["parts"])
    return Manifest(
        question=read_question(cast(Mapping[str, object], record["question"])),
        inputs=cast(Inputs, record["inputs"]),
        version=str(record["version"]),
        part_rows=int(str(record["part_rows"])),
        parts=tuple(PartRecord(**part) for part in parts),  # pyright: ignore[reportArgumentType]
    )
