"""aiconfigurator: kernel measurements of serving engines, as its packages ship them.

Layout (releases 0.8 to 0.12): `systems/data/<system>/[<family>/]<backend>/<version>/<table>_perf.parquet`, where older
releases write `.txt` files of comma-separated values. System, backend and version come from the folders: a version may
ship another one's measurements, and a file's own columns then name that one.

Units: `latency` is in ms, except in `moe_a2a` (us); the DeepEP tables have a column in us for each phase.
`message_size` counts elements. `power` is in W.
"""

import re
from functools import partial
from pathlib import Path

from gambrel.calibration.importers.aiconfigurator_tables import Context, layout_of
from gambrel.calibration.importers.arrow import count_rows
from gambrel.calibration.importers.block import FileRead
from gambrel.calibration.importers.sheet import UnreadableError, read_csv
from gambrel.calibration.importers.source import Found, Request, read_file
from gambrel.errors import Problem, UsageError

SYSTEMS = {"a100_sxm": "A100-SXM-80GB", "a100_pcie": "A100-PCIe-80GB"}
"""Devices whose folder leaves the memory out (80 GiB according to their system files)."""


def find(request: Request) -> Found:
    """The tables below a site-packages folder, a checkout, `systems/data`, or a folder in that.

    Raises:
        UsageError: There are none.
    """
    base = request.path.resolve()
    found = sorted(p for p in base.rglob("*_perf.*") if p.suffix in (".parquet", ".txt", ".csv"))
    # files elsewhere are no tables of the package, unless the folder is a copy of its data
    files = [path for path in found if _data_folder(path)] or found
    if not files:
        raise UsageError(
            Problem(
                where=str(request.path),
                what="holds no aiconfigurator tables (systems/data/<system>/.../*_perf.parquet)",
                fix="Name the site-packages folder that the package is installed in; "
                "since release 0.12 its tables are in the package aiconfigurator-core",
            )
        )
    folders = {_data_folder(path) or base for path in files}
    systems = {path.relative_to(_data_folder(path) or base).parts[0] for path in files}
    version = _version(min(folders))
    label = request.label or f"aiconfigurator-{version}".rstrip("-")
    return Found(
        root=min(folders) if len(folders) == 1 else base,
        files=files,
        label=label,
        version=version,
        read=partial(_read, base, label, request),
        devices=tuple(sorted({device_of(system) for system in systems} | systems)),
    )


def _data_folder(path: Path) -> Path | None:
    """The folder `systems/data` that a file is in."""
    return next((x for x in path.parents if x.name == "data" and x.parent.name == "systems"), None)


def _version(root: Path) -> str:
    """The version that the package's metadata beside it states; empty where there is none."""
    for folder in root.parents:
        for metadata in sorted(folder.glob("aiconfigurator*.dist-info")):
            return metadata.name.removesuffix(".dist-info").rpartition("-")[2]
        project = folder / "pyproject.toml"
        if project.is_file():
            found = re.search(r'^version\s*=\s*"([^"]+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
            if found:
                return found[1]
    return ""


def device_of(system: str) -> str:
    """The device that a system's folder names: `h100_sxm` is H100-SXM."""
    words = [word if word == "server" else word.upper() for word in system.split("_")]
    return SYSTEMS.get(system) or "-".join(words).replace("PCIE", "PCIe")


def _read(base: Path, label: str, request: Request, path: Path) -> FileRead:
    parts = path.relative_to(_data_folder(path) or base).parts
    if len(parts) not in (4, 5):
        return FileRead(path=path, whole="is not at <system>/<backend>/<version>/<table>")
    system, backend, version = parts[0], parts[-3], parts[-2]
    table = path.stem.removesuffix("_perf")
    device = device_of(system)
    if not request.wants_device(system, device):
        return FileRead(path=path, whole="another device")
    where = Context(table=table, device=device, source=label, backend=backend, version=version)
    layout = layout_of(where)
    if layout:
        return read_file(path, layout, request)
    if request.ops:
        return FileRead(path=path, whole="another operation")
    try:
        rows = count_rows(path) if path.suffix == ".parquet" else read_csv(path).length
    except UnreadableError as error:
        return FileRead(path=path, whole=str(error))
    return FileRead(path=path, rows=rows, skipped={f"{table}: the format has no table for it": rows})
