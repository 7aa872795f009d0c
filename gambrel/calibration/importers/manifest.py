"""The record of what was imported: `manifest.json` beside the tables."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gambrel.errors import Problem, UsageError

NAME = "manifest.json"
FORMAT = 1

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What one file gave.

    Attributes:
        file: Its path below the source.
        sha256: Of its content.
        rows: Rows that it holds.
        written: Rows that were written, by table and device.
        skipped: Measurements that were not, by reason.
    """

    file: str
    sha256: str
    rows: int
    written: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, int]

    def to_json(self) -> Json:
        """A plain mapping."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "rows": self.rows,
            "written": {table: dict(devices) for table, devices in self.written.items()},
            "skipped": dict(self.skipped),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRecord:
    """One import.

    Attributes:
        source: Which importer.
        label: What the column `source` says.
        version: Of the source; empty where it does not say.
        path: Where the source was.
        gambrel: The version that imported it.
        options: What narrowed or mapped it.
        files: What was read.
        skipped_files: Files that gave nothing at all, with the reason.
        not_asked_for: Files of other devices or operations.
    """

    source: str
    label: str
    version: str
    path: str
    gambrel: str
    options: Mapping[str, str]
    files: Sequence[FileRecord]
    skipped_files: Mapping[str, str]
    not_asked_for: int

    def written(self) -> dict[str, Counter[str]]:
        """Rows that were written, by table and device."""
        total: dict[str, Counter[str]] = {}
        for record in self.files:
            for table, devices in record.written.items():
                total.setdefault(table, Counter()).update(devices)
        return dict(sorted(total.items()))

    def skipped(self) -> Counter[str]:
        """Measurements that were not written, by reason."""
        total: Counter[str] = Counter()
        for record in self.files:
            total.update(record.skipped)
        return total

    def to_json(self) -> Json:
        """A plain mapping."""
        written = self.written()
        return {
            "source": self.source,
            "label": self.label,
            "version": self.version,
            "path": self.path,
            "gambrel": self.gambrel,
            "options": dict(self.options),
            "rows_read": sum(record.rows for record in self.files),
            "rows_written": sum(sum(devices.values()) for devices in written.values()),
            "rows_skipped": sum(self.skipped().values()),
            "tables": {table: dict(sorted(devices.items())) for table, devices in written.items()},
            "skipped": dict(self.skipped().most_common()),
            "skipped_files": dict(self.skipped_files),
            "files_not_asked_for": self.not_asked_for,
            "files": [record.to_json() for record in self.files],
        }


def load(folder: Path) -> list[Json]:
    """The imports that a folder's manifest lists, oldest first; none where it has no manifest.

    Raises:
        UsageError: The file is no manifest.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        content = cast("object", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(Problem(where=str(path), what=f"cannot be read: {error}")) from None
    if not isinstance(content, dict) or cast("Json", content).get("format") != FORMAT:
        raise UsageError(
            Problem(where=str(path), what=f"is no manifest of format {FORMAT}", fix="Import into another folder")
        )
    return cast("list[Json]", cast("Json", content).get("imports", []))


def content(imports: Sequence[Json]) -> Json:
    """A manifest that lists imports."""
    return {"format": FORMAT, "imports": list(imports)}


def store(folder: Path, imports: Sequence[Json]) -> None:
    """Write a folder's manifest, whole or not at all."""
    partial = folder / f".{NAME}.partial"
    partial.write_text(json.dumps(content(imports), indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / NAME)


def tables_of(imports: Sequence[Json]) -> set[str]:
    """Tables that imports wrote."""
    return {table for each in imports for table in cast("Mapping[str, object]", each.get("tables", {}))}


def known_rows(imports: Sequence[Json]) -> set[tuple[str, str, str, str, str]]:
    """(file, content, map, table, device) of all rows that imports wrote."""
    known: set[tuple[str, str, str, str, str]] = set()
    for each in imports:
        column_map = cast("Mapping[str, str]", each.get("options", {})).get("map", "")
        for record in cast("Sequence[Mapping[str, object]]", each.get("files", ())):
            for table, devices in cast("Mapping[str, Mapping[str, int]]", record["written"]).items():
                known |= {(str(record["file"]), str(record["sha256"]), column_map, table, name) for name in devices}
    return known
