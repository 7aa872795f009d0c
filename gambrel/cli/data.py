"""`gambrel data`: measurements."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gambrel import __version__
from gambrel.calibration.importers.column_map import Cell, ColumnMap, parse_map
from gambrel.calibration.importers.manifest import NAME, ImportRecord, content, load
from gambrel.calibration.importers.run import SOURCES, Mode, import_measurements
from gambrel.calibration.importers.source import Request
from gambrel.cli.output import Format, print_json, print_table
from gambrel.errors import Problem, UsageError

Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]


def import_(
    source: str,
    path: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    op: Several = (),
    device: Several = (),
    dtype: Annotated[str, Parameter(show_default=False)] = "",
    map: Annotated[str, Parameter(show_default=False)] = "",
    label: Annotated[str, Parameter(show_default=False)] = "",
    append: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    format: Format = "table",
) -> None:
    """Turn published measurements into tables to calibrate with and to score against.

    Args:
        source: aiconfigurator, vidur, neusight or csv.
        path: Where it is: a site-packages folder or a checkout; for csv, the file.
        out: Folder for the tables (OP.parquet) and manifest.json.
        op: Only this table (gemm, attention_decode, ...); may be repeated. For csv: what the file measured.
        device: Only this device; may be repeated. For csv: the device that was measured.
        dtype: For csv: the number format.
        map: For csv: where columns come from, such as `m=M,latency_us=time_ms*1000,backend='trtllm'`.
        label: What the column `source` says, instead of the name and version of the source.
        append: Add to the tables of the folder; rows that it lists as imported stay single.
        force: Replace the tables of the folder.
        format: A table for people, or the manifest as JSON.
    """
    if append and force:
        raise UsageError(Problem(where="--append --force", what="do not go together", fix="Give one of them"))
    request = Request(path=path, ops=op, devices=device, label=label)
    if source == "csv":
        request = replace(request, devices=(), columns=_columns(map, device, dtype))
    elif (map or dtype) and source in SOURCES:
        raise UsageError(
            Problem(where="--map" if map else "--dtype", what=f"{source} says itself what its columns are")
        )
    mode: Mode = "append" if append else "replace" if force else "new"
    record = import_measurements(source, request, out, mode=mode, version=__version__, progress=_progress())
    _warn(record)
    if format == "json":
        print_json(content(load(out)))
        return
    rows = [
        (table, device, f"{count:,}")
        for table, devices in record.written().items()
        for device, count in sorted(devices.items())
    ]
    if not rows:
        print(f"nothing new for {out}")
        return
    print_table(("table", "device", ">rows"), rows)
    total = sum(sum(devices.values()) for devices in record.written().values())
    print(f"\n{total:,} rows in {out}; {out / NAME} says where each came from")


def _columns(text: str, devices: Sequence[str], dtype: str) -> ColumnMap:
    """The column map with the constants that have options of their own."""
    mapped = parse_map(text)
    if len(devices) > 1:
        raise UsageError(Problem(where="--device", what="is given more than once", fix="Map it: --map device=COLUMN"))
    cells = dict(mapped.cells)
    for name, value in (("device", "".join(devices)), ("dtype", dtype)):
        if value and name in cells:
            raise UsageError(
                Problem(where=f"--{name} {value}", what=f"the map gives {name} too", fix="Give one of them")
            )
        if value:
            cells[name] = Cell(constant=value, is_text=True)
    constants = ",".join(
        f"{name}='{cells[name].constant}'" for name in ("device", "dtype") if name not in mapped.cells and name in cells
    )
    return ColumnMap(cells=cells, text=",".join(filter(None, (text, constants))))


def _warn(record: ImportRecord) -> None:
    """Say what was not imported, and why."""
    for reason, count in record.skipped().most_common():
        print(f"skipped {count:,} measurement{'s' * (count != 1)}: {reason}", file=sys.stderr)
    for file, reason in record.skipped_files.items():
        print(f"skipped {file}: {reason}", file=sys.stderr)


def _progress() -> Callable[[int, int, Path], None]:
    """A line that is written over on a terminal; a line for each tenth elsewhere."""
    terminal = sys.stderr.isatty()

    def show(done: int, total: int, path: Path) -> None:
        if terminal:
            end = "\r" if done + 1 < total else "\r\x1b[K"
            print(f"\x1b[Kreading {done + 1} of {total}: {path.name}", end=end, file=sys.stderr, flush=True)
        elif total > 1 and done % max(total // 10, 1) == 0:
            print(f"reading {done + 1} of {total} files", file=sys.stderr)

    return show
