"""What every source has in common: what is asked for, what is found at its path, and how a file is read."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gambrel.calibration.importers.arrow import read_parquet
from gambrel.calibration.importers.block import Block, FileRead
from gambrel.calibration.importers.column_map import ColumnMap
from gambrel.calibration.importers.sheet import Sheet, UnreadableError, read_csv


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to import.

    Attributes:
        path: Where the source is.
        ops: Only these tables; all where empty.
        devices: Only these devices; all where empty.
        label: What the column `source` says; empty for the source's own name and version.
        columns: For a CSV file: where each column comes from.
    """

    path: Path
    ops: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    label: str = ""
    columns: ColumnMap = field(default_factory=ColumnMap)

    def wants(self, table: str) -> bool:
        """Whether a table is asked for."""
        return not self.ops or table in self.ops

    def wants_device(self, *names: str) -> bool:
        """Whether a device is asked for, by one of its names."""
        return not self.devices or bool({plain(name) for name in names} & {plain(name) for name in self.devices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is to read.

    Attributes:
        root: What the files' names in the manifest are relative to.
        files: In the order in which they are read.
        label: What the column `source` says.
        version: Of the source; empty where it does not say.
        read: Reads one of the files.
        devices: Names of the devices that it has; empty where only the rows say.
    """

    root: Path
    files: Sequence[Path]
    label: str
    version: str
    read: Callable[[Path], FileRead]
    devices: tuple[str, ...] = ()


def plain(name: str) -> str:
    """A device's name without what differs between spellings."""
    return "".join(c for c in name.lower() if c.isalnum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the files of one kind are read.

    Attributes:
        tables: Tables of the format that they give rows of.
        needs: Columns that they cannot do without.
        build: Makes the rows, and counts those that it leaves out by reason.
    """

    tables: tuple[str, ...]
    needs: tuple[str, ...]
    build: Callable[[Sheet, Counter[str]], Sequence[Block]]


def read_file(path: Path, layout: Layout, request: Request) -> FileRead:
    """The rows of one file that are asked for."""
    if not any(map(request.wants, layout.tables)):
        return FileRead(path=path, whole="another operation")
    try:
        sheet = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    except UnreadableError as error:
        return FileRead(path=path, whole=str(error))
    absent = [name for name in layout.needs if name not in sheet.names]
    if absent:
        return FileRead(path=path, rows=sheet.length, whole=f"has no column {', '.join(absent)}")
    if not sheet.length:
        return FileRead(path=path, whole="holds no rows")
    skipped: Counter[str] = Counter()
    built = [b for b in layout.build(sheet, skipped) if request.wants(b.table)]
    blocks = tuple(_wanted_devices(b, request, skipped) for b in built)
    return FileRead(path=path, rows=sheet.length, blocks=blocks, skipped=skipped)


def _wanted_devices(block: Block, request: Request, skipped: Counter[str]) -> Block:
    if not request.devices:
        return block
    codes, values = block.text("device")
    keep = np.array([request.wants_device(value) for value in values], dtype=np.bool_)[codes]
    if keep.all():
        return block
    skipped["another device"] += int((~keep).sum())
    return block.take(keep)
