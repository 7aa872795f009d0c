"""Scores every family of measured kernels with more and more known of the device: from no data of it to what ships.

Usage: python -m benchmarks.accuracy.grades [--device D] [--family F] [--sets] [--write]

All columns are scored on the same rows, those of the shape sites that nothing is ever fitted on:

- `new`: no row of the device. H100 and H200 have what was fitted on the other one alone; the rest the engine's
  defaults.
- `random`, `spread`: calibrated from there (`gambrel.calibration.calibrate`) on 20 rows of each set of parameters (a
  number format or kernel class of one library), drawn at random, or each the farthest from those before it in size.
- `tenth`: the same on a tenth of the rows of each set, 20 at least, drawn at random.
- `shipped`: the parameters of the profile. `roofline`: its data sheet alone.

Each result is kept under `runs/grades`, so that a run that was stopped goes on where it was, until the code, the data
or the profiles that it depends on change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from benchmarks.accuracy.grade_cells import COLUMNS, FITTED_HERE, SIBLINGS, Settings, score
from benchmarks.accuracy.grade_report import Cell, section, set_lines, table_lines
from benchmarks.accuracy.grade_rows import SetError, profiles_in, read_rows
from benchmarks.accuracy.kernels import FAMILIES, RESULTS, ROOT, data_folder, splice
from gambrel.calibration.transfer import without_fits
from gambrel.hardware.load import load_device, load_profile

CACHE = ROOT / "runs" / "grades"
BEGIN, END = "<!-- grades: generated -->", "<!-- grades: end -->"

FIRST = ("a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "l40s")
"""Profiles that stand before the others."""

SOURCES = ("gambrel/cost", "gambrel/calibration", "benchmarks/accuracy/fit*.py", "benchmarks/accuracy/grade_[cr]*.py")
"""Code that results depend on."""


@cache
def fingerprint_of_code() -> str:
    """A hash of the code that results depend on."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes())
    return digest.hexdigest()


def key_of(column: str, profile: str, table: Path, settings: Settings) -> str:
    """What a result depends on: the code, the rows, the settings, the device, and its sibling where one is fitted."""
    names = [profile, SIBLINGS[profile]] if column in FITTED_HERE and profile in SIBLINGS else [profile]
    load = load_device if column == "shipped" else without_fits
    devices = [replace(load(name), profile_hash="", uncertainty={}) for name in names]
    stat = table.stat()
    parts = (fingerprint_of_code(), stat.st_size, stat.st_mtime_ns, settings, devices)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def cell_of(table: Path, profile: str, settings: Settings) -> Cell | None:
    """All columns of one table on one device, as kept or computed now; None where it has no rows."""
    measured = None
    columns: dict[str, list[SetError]] = {}
    for column in COLUMNS:
        file = CACHE / f"{table.stem}.{profile}.{column}.json"
        key = key_of(column, profile, table, settings)
        kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if kept.get("key") == key:
            columns[column] = [SetError(**each) for each in kept["sets"]]
            continue
        measured = measured or read_rows(table, profile)
        if measured is None:
            return None
        began = time.process_time()
        columns[column] = score(column, measured, profile, table.parent, settings)
        print(f"{table.stem} {profile} {column}: {time.process_time() - began:.1f} s", file=sys.stderr, flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key, "sets": [asdict(each) for each in columns[column]]})
        file.write_text(text, encoding="utf-8")
    return Cell(table=table.stem, device=profile, columns=columns) if columns["new"] else None


def cells(folder: Path, profiles: Sequence[str], families: Sequence[str], settings: Settings) -> list[Cell]:
    """Every cell of some families that has scored rows: of some devices, or of all that a table names where empty."""
    found: list[Cell | None] = []
    for table in (folder / f"{name}.parquet" for name in families):
        if table.is_file():
            named = profiles or [*FIRST, *(name for name in profiles_in(table) if name not in FIRST)]
            found += [cell_of(table, profile, settings) for profile in named]
    return [cell for cell in found if cell is not None]


def main() -> None:
    """Prints the table of grades, and with --write renews that section of RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the parquet files")
    parser.add_argument("--device", action="append", help="a profile, or an alias of one; all if absent")
    parser.add_argument("--family", action="append", choices=tuple(FAMILIES), help="a measured table; all if absent")
    parser.add_argument("--points", type=int, default=Settings().points)
    parser.add_argument("--seed", type=int, default=Settings().seed)
    parser.add_argument("--sets", action="store_true", help="also print a line for each set of parameters")
    parser.add_argument("--write", action="store_true", help="renew the section of RESULTS.md")
    args = parser.parse_args()
    profiles = [load_profile(name).id for name in args.device or ()]
    settings = Settings(points=args.points, seed=args.seed)
    found = cells(args.data, profiles, args.family or tuple(FAMILIES), settings)
    if not found:
        parser.error(f"{args.data} holds no rows of these devices and families")
    print("\n".join(table_lines(found, FAMILIES)))
    if args.sets:
        print("\n".join(["", *set_lines(found)]))
    if args.write:
        if args.device:
            parser.error("--write takes all devices")
        left = [title for name, title in FAMILIES.items() if args.family and name not in args.family]
        remark = ["", f"Not run with the present parameters: {', '.join(left)}."] if left else []
        splice(RESULTS, BEGIN, END, "\n".join([section(found, FAMILIES), *remark]))


if __name__ == "__main__":
    main()
