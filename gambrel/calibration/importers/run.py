"""Importing measurements: find the source's files, read each, write the tables and the manifest."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

import numpy as np

from gambrel.calibration.importers import manifest
from gambrel.calibration.importers.arrow import TableWriter, require_pyarrow
from gambrel.calibration.importers.block import Block, FileRead
from gambrel.calibration.importers.manifest import FileRecord, ImportRecord, Json
from gambrel.calibration.importers.sheet import UnreadableError
from gambrel.calibration.importers.source import Found, Request, plain
from gambrel.calibration.importers.tables import TABLES
from gambrel.errors import Problem, UsageError, did_you_mean

SOURCES: Mapping[str, str] = {
    "aiconfigurator": "gambrel.calibration.importers.aiconfigurator",
    "vidur": "gambrel.calibration.importers.vidur",
    "neusight": "gambrel.calibration.importers.neusight",
    "csv": "gambrel.calibration.importers.plain_csv",
}
"""Module of each source; its function `find` takes a `Request` and returns what is `Found`."""

Mode = Literal["new", "append", "replace"]
"""What to do with tables that are there: refuse, continue them, or put the new ones in their place."""

NOT_ASKED_FOR = ("another device", "another operation")

IMPORTED_BEFORE = "imported before"
"""Why rows are left out that the folder's manifest lists already."""

Known = set[tuple[str, str, str, str, str]]


def import_measurements(
    source: str,
    request: Request,
    out: Path,
    *,
    mode: Mode = "new",
    version: str = "",
    progress: Callable[[int, int, Path], None] = lambda _done, _total, _path: None,
) -> ImportRecord:
    """Turn published measurements into tables of the format that calibration and accuracy read.

    Args:
        source: One of SOURCES.
        request: Where they are, and which of them.
        out: Folder for the tables and the manifest; made where it does not exist.
        mode: What to do with files that it holds.
        version: Of the program that imports, for the manifest.
        progress: Called before each file with the number of those done, of all, and the file.

    Raises:
        UsageError: The source, the path or a filter is not known, the folder may not be written, or there is nothing
            to write (an append of rows that the folder has is no error, and changes nothing).
    """
    found = _find(source, request)
    before = _open_folder(out, mode)
    require_pyarrow()
    known: Known = manifest.known_rows(before) if mode == "append" else set()
    column_map = request.columns.text
    with _tables(out, keep=mode == "append") as writers:
        files: list[FileRecord] = []
        skipped: dict[str, str] = {}
        not_asked_for = 0
        for done, path in enumerate(found.files):
            progress(done, len(found.files), path)
            read = found.read(path)
            if read.whole in NOT_ASKED_FOR:
                not_asked_for += 1
            elif read.whole:
                skipped[path.relative_to(found.root).as_posix()] = read.whole
            else:
                files.append(_write(read, found.root, column_map, known, writers))
        record = ImportRecord(
            source=source,
            label=found.label,
            version=found.version,
            path=str(request.path),
            gambrel=version,
            options={"ops": " ".join(request.ops), "devices": " ".join(request.devices), "map": column_map},
            files=files,
            skipped_files=skipped,
            not_asked_for=not_asked_for,
        )
        if not record.written() and IMPORTED_BEFORE in record.skipped():
            return record
        _check_any(record, found, request)
        for writer in writers.values():
            writer.close()
        for writer in writers.values():
            writer.publish()
    if mode == "replace":
        for table in manifest.tables_of(before) - set(record.written()):
            (out / f"{table}.parquet").unlink(missing_ok=True)
    manifest.store(out, [*(before if mode == "append" else []), record.to_json()])
    return record


def _find(source: str, request: Request) -> Found:
    problems = [
        Problem(where="--op", what=f"there is no table {op!r}", fix=did_you_mean(op, TABLES))
        for op in request.ops
        if op not in TABLES
    ]
    if source not in SOURCES:
        problems.append(Problem(where=source, what="is no source of measurements", fix=did_you_mean(source, SOURCES)))
    if not request.path.exists():
        problems.append(Problem(where=str(request.path), what="does not exist"))
    if problems:
        raise UsageError(*problems)
    found = cast("Callable[[Request], Found]", import_module(SOURCES[source]).find)(request)
    unknown = [
        Problem(where=f"--device {name}", what="was not measured there", fix=did_you_mean(name, found.devices))
        for name in request.devices
        if found.devices and not {plain(name)} & {plain(device) for device in found.devices}
    ]
    if unknown:
        raise UsageError(*unknown)
    return found


def _open_folder(out: Path, mode: Mode) -> list[Json]:
    """The imports that the folder lists already."""
    if out.exists() and not out.is_dir():
        raise UsageError(Problem(where=str(out), what="is a file", fix="Name a folder"))
    if mode == "new" and out.exists() and any(out.iterdir()):
        raise UsageError(
            Problem(
                where=str(out),
                what="holds files",
                fix="Name another folder, or add to its tables with --append, or replace them with --force",
            )
        )
    return manifest.load(out)


class _Writers(dict[str, TableWriter]):
    """The tables that are being written, each opened when its first rows come."""

    def __init__(self, out: Path, *, keep: bool) -> None:
        super().__init__()
        self._out, self._keep = out, keep

    def append(self, block: Block) -> None:
        """Append rows to their table.

        Raises:
            UsageError: The table cannot be continued or written.
        """
        path = self._out / f"{block.table}.parquet"
        try:
            if block.table not in self:
                self[block.table] = TableWriter(path, block.table, keep=self._keep)
            self[block.table].write(block)
        except UnreadableError as error:
            raise UsageError(Problem(where=str(path), what=str(error), fix="Import into another folder")) from None
        except OSError as error:
            raise UsageError(Problem(where=str(path), what=f"cannot be written: {error.strerror}")) from None


@contextmanager
def _tables(out: Path, *, keep: bool) -> Generator[_Writers]:
    """Tables that appear when all of them are written, or not at all."""
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(Problem(where=str(out), what=f"cannot be made: {error.strerror}")) from None
    writers = _Writers(out, keep=keep)
    try:
        yield writers
    finally:
        for writer in writers.values():
            writer.discard()
        if made and not any(out.iterdir()):
            out.rmdir()


def _write(read: FileRead, root: Path, column_map: str, known: Known, writers: _Writers) -> FileRecord:
    """Append a file's rows, except those that the tables hold already."""
    name = read.path.relative_to(root).as_posix()
    digest = sha256(read.path.read_bytes()).hexdigest()
    skipped = Counter(read.skipped)
    written: dict[str, Counter[str]] = {}
    for each in read.blocks:
        fresh = _without(each, {key[4] for key in known if key[:4] == (name, digest, column_map, each.table)})
        if fresh.length < each.length:
            skipped[IMPORTED_BEFORE] += each.length - fresh.length
        if fresh.length:
            writers.append(fresh)
            written.setdefault(each.table, Counter()).update(fresh.devices())
    return FileRecord(file=name, sha256=digest, rows=read.rows, written=written, skipped=skipped)


def _without(block: Block, devices: set[str]) -> Block:
    codes, values = block.text("device")
    return block.take(np.array([value not in devices for value in values], dtype=np.bool_)[codes]) if devices else block


def _check_any(record: ImportRecord, found: Found, request: Request) -> None:
    """Make sure that there is something to write."""
    if record.written():
        return
    reasons = Counter(record.skipped())
    reasons.update(Counter(record.skipped_files.values()))
    if record.not_asked_for:
        reasons["files of other devices or operations"] += record.not_asked_for
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(5))
    raise UsageError(
        Problem(
            where=str(request.path),
            what=f"gives no rows from {len(found.files)} file{'s' * (len(found.files) != 1)}",
            why=listed,
        )
    )
