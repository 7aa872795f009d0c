"""`gambrel calibrate`: engine parameters from measurements of a device, or of this machine."""

import math
import sys
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gambrel.calibration.calibrate import Calibration, FittedFamily
from gambrel.calibration.calibrate import calibrate as fit_device
from gambrel.calibration.fit import require_scipy
from gambrel.calibration.measurements import Choice, read_measurements
from gambrel.calibration.transfer import without_own_fit
from gambrel.calibration.write import calibrated_profile, check_target, write_profile
from gambrel.cli.output import Format, print_json, print_table
from gambrel.errors import Problem, UsageError
from gambrel.hardware.load import load_device, load_profile

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Text = Annotated[str, Parameter(show_default=False)]


def calibrate(
    *,
    device: Text = "",
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    this_host: Flag = False,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    op: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    device_column: Text = "",
    prior: Literal["profile", "generation"] = "profile",
    seed: int = 0,
    minutes: float = 5.0,
    backend: Literal["auto", "torch", "numpy"] = "auto",
    threads: Annotated[int, Parameter(show_default=False)] = 0,
    force: Flag = False,
    format: Format = "table",
) -> None:
    """Fit engine parameters to measurements of a device, or measure this machine.

    Every family and variant that the rows show is fitted from 20 rows on, with the device's present parameters as the
    prior. A part of the shape sites is held out in turn: the error shown is that on rows that the fit had not seen. The
    profile records the sizes that it was fitted on; estimates outside them are marked and their interval is wider.

    Args:
        device: A shipped profile or a path to a YAML file: what was measured.
        from_: A .parquet or .csv file named as its operation, or a folder of such files.
        this_host: Measure the machine that this runs on, and write a complete profile.
        output: The profile to write; without it, the errors are shown and nothing is written.
        op: Only this operation; may be repeated. Also names the operation of a file that is not named as one.
        device_column: The column that names devices, where it is not `device`.
        prior: Start from all that the profile says, or only from what its generation shares.
        seed: Of random starts and of the choice of rows that are held out.
        minutes: Time that --this-host may take.
        backend: What --this-host measures: PyTorch where it is installed, else NumPy.
        threads: Threads that --this-host measures with; all cores where not given.
        force: Replace the profile if it is there.
        format: A table for people, or JSON.
    """
    _check_options(device, from_, this_host=this_host)
    if output is not None:
        check_target(output, force=force)
    require_scipy()
    if this_host:
        from gambrel.calibration.this_host import Settings, calibrate_host

        if not (math.isfinite(minutes) and minutes > 0):
            raise UsageError(Problem(where=f"--minutes {minutes:g}", what="is not a time above 0"))
        settings = Settings(seconds=60.0 * minutes, backend=backend, threads=threads, seed=seed)
        found, text = calibrate_host(settings, output or Path("this-host.yaml"), _remark)
    else:
        assert from_ is not None
        profile = load_profile(device)
        machine = load_device(device)
        if prior == "generation":
            machine = without_own_fit(device)
        names = (profile.id, profile.title, *profile.aliases, device)
        choice = Choice(device=machine, names=names, column=device_column, ops=op)
        parts = read_measurements(from_, choice)
        found = fit_device(machine, parts, seed=seed, report=_remark)
        today = datetime.now(UTC).date().isoformat()
        text = calibrated_profile(device, profile.title, found.families, output or Path(f"{profile.id}.yaml"), today)
    for problem in found.skipped:
        _remark(f"left out: {problem}")
    if output is not None:
        write_profile(text, output, force=force)
    _show(found, format)
    _remark(f"wrote {output}" if output else "nothing was written: give -o profile.yaml to keep this")


def _check_options(device: str, source: Path | None, *, this_host: bool) -> None:
    if this_host and (device or source):
        given = "--device" if device else "--from"
        raise UsageError(Problem(where=f"--this-host {given}", what="do not go together", fix="Give one of them"))
    if this_host:
        return
    missing = [name for name, value in (("--device", device), ("--from", source)) if not value]
    if missing:
        what = "needs a device and measurements of it, or --this-host"
        raise UsageError(Problem(where="calibrate", what=what, fix=f"Give {' and '.join(missing)}"))


def _show(found: Calibration, format: Format) -> None:
    if format == "json":
        print_json([_record(family) for family in found.families])
        return
    columns = ("family", ">rows", ">held out", ">MAPE before", ">held-out MAPE")
    print_table(columns, map(_cells, found.families))


def _record(found: FittedFamily) -> dict[str, object]:
    record: dict[str, object] = {field.name: getattr(found, field.name) for field in fields(found)}
    return record | {"band": found.band._asdict()}


def _cells(found: FittedFamily) -> tuple[str, ...]:
    errors = (f"{100 * found.mape_before:.1f} %", f"{100 * found.mape_after:.1f} %")
    return (found.family, str(found.n), str(found.n_held_out), *errors)


def _remark(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
