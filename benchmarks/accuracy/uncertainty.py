"""Writes the residuals of the shipped parameters, which intervals of estimates come from, into hardware profiles.

Usage: python -m benchmarks.accuracy.uncertainty [--data DIR] [--write]

A quarter of the shape sites shapes them: sites that no parameter was fitted on, and that no coverage is scored on.
`residuals-DEVICE.yaml` has those of the parameters of a device, `residuals-BASE.yaml` those of a generation where it
prices a device without what was fitted on that one; `residuals-transferred.yaml` and `residuals-datasheet.yaml` pool
those of all devices for the devices that were not measured.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.kernels import data_folder
from gambrel.calibration.accuracy import read_parquet
from gambrel.calibration.columns import raw_column, to_text
from gambrel.calibration.families import families, family_stem
from gambrel.calibration.intervals import FEW_SITES, FEW_WIDENED, POOLED_TAIL, TAIL, WIDENED, Band, band_from
from gambrel.calibration.operation import Call, fold, interval_fold
from gambrel.calibration.predict import answer_call, build, with_rate
from gambrel.calibration.score import FITTED_SOURCES, machine_of, profile_of
from gambrel.calibration.tables import OPERATIONS, read_table
from gambrel.errors import GambrelError
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_profile
from gambrel.hardware.resolve import SHIPPED

PREFIX = "residuals-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """Estimates and measurements of one call's rows that may shape intervals, by every family that looks at them.

    Attributes:
        names: Families.
        unnamed: Whether the parameters are those of no particular library.
    """

    names: tuple[str, ...]
    unnamed: bool
    sites: frozenset[str]
    seconds: np.ndarray
    measured: np.ndarray


def residuals(folder: Path, name: str, device: Device) -> Iterator[Residuals]:
    """Residuals of one measured device; those of named libraries also count for unnamed ones, without their parameters.

    Args:
        folder: Of the measured tables.
        name: As the tables name the device.
        device: With the parameters that are looked at.
    """
    for operation in OPERATIONS.values():
        path = folder / f"{operation.name}.parquet"
        if operation.build is None or not path.exists():
            continue
        table = read_parquet(path)
        codes, names = to_text(raw_column(table, "device"))
        sources = to_text(raw_column(table, "source"))
        shown = np.array([*(x.startswith(FITTED_SOURCES) for x in sources.values), False])[sources.codes]
        read = read_table(operation, table)
        wanted = np.array([*(x == name for x in names), False])[codes] & read.valid & shown
        for group in operation.groups(read.rows.take(np.flatnonzero(wanted))):
            sites = np.array(operation.sites(group.rows))
            kept = interval_fold(fold(sites.tolist()))
            if not kept.any():
                continue
            measured = group.rows.numbers["latency_us"] * 1e-6
            call = build(operation, group.rows)
            for item in _looks(call, device, measured):
                few = frozenset(sites[kept].tolist())
                yield replace(item, sites=few, seconds=item.seconds[kept], measured=measured[kept])


def _looks(call: Call, device: Device, measured: np.ndarray) -> Iterator[Residuals]:
    kernels = tuple(with_rate(kernel, device) for kernel in call.kernels)
    library = getattr(kernels[call.main], "library", "")
    looks = {(families(kernels[call.main], device)[-1],): kernels}
    if not any(word in library for word in ("triton", "eager")):
        plain = tuple(replace(k, library="") if hasattr(k, "library") else k for k in kernels)
        names = (family_stem(plain[call.main]), *families(plain[call.main], device))
        looks[tuple(dict.fromkeys((names[0], names[1], names[-1])))] = plain
    if device.engine == "roofline" and not device.parameters:
        looks = {(device.engine,): kernels}  # the others are no measure of it, nor it of them
    for names, each in looks.items():
        try:
            answer = answer_call(replace(call, kernels=each), device)
        except GambrelError:
            return
        seconds = np.broadcast_to(answer.seconds, measured.shape)
        yield Residuals(
            names=names,
            unnamed="@" not in names[-1],
            sites=frozenset(),
            seconds=seconds,
            measured=measured,
        )


def bands(found: list[Residuals], *, tail: float = TAIL, widened: float = 1.0) -> dict[str, Band]:
    """The bounds of every family that has enough rows."""
    parts: dict[str, list[Residuals]] = defaultdict(list)
    for item in found:
        for name in item.names:
            parts[name].append(item)
    pooled = {
        name: band_from(
            np.concatenate([item.seconds for item in items]),
            np.concatenate([item.measured for item in items]),
            tail=tail,
            widened=max(widened, FEW_WIDENED if _count_sites(items) < FEW_SITES else 1.0),
        )
        for name, items in sorted(parts.items())
    }
    return {name: band for name, band in pooled.items() if band is not None}


def _count_sites(items: list[Residuals]) -> int:
    return len(frozenset[str]().union(*(item.sites for item in items)))


def as_profile(name: str, title: str, found: dict[str, Band], note: str) -> str:
    """The text of a base profile that has nothing but residuals."""
    lines = [
        f"# {title}",
        "# Written by `python -m benchmarks.accuracy.uncertainty --write`; a device takes it through `extends`.",
        "schema: 1",
        f"id: {name}",
        f"title: {title}",
        "abstract: true",
        f"default_source: {name}",
        "",
        "uncertainty:",
    ]
    for family, band in found.items():
        cells = ", ".join(f"{key}: {value:.3g}" for key, value in band._asdict().items())
        lines.append(f"  {family}: {{{cells}}}")
    ref = "open kernel measurements of aiconfigurator 0.12.0 and Vidur, a quarter of the shape sites"
    lines += ["", "sources:", f'  {name}: {{kind: fitted, ref: "{ref}", note: "{note}"}}', ""]
    return "\n".join(lines)


def measured_devices(folder: Path) -> list[str]:
    """Devices of the tables that a profile describes."""
    names: dict[str, None] = {}
    for operation in OPERATIONS.values():
        path = folder / f"{operation.name}.parquet"
        if path.exists():
            names |= dict.fromkeys(to_text(raw_column(read_parquet(path), "device")).values)
    return [name for name in names if profile_of(name)]


def main() -> None:
    """Prints how many families got bounds, and with --write renews the profiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--write", action="store_true", help="renew the residuals-*.yaml among the shipped profiles")
    args = parser.parse_args()
    siblings: list[Residuals] = []
    new: list[Residuals] = []
    generations: dict[str, list[Residuals]] = defaultdict(list)
    for name in measured_devices(args.data):
        device = machine_of(name)
        own = bands(list(residuals(args.data, name, device)))
        note = "measured over estimated time of the calibrated parameters, on sites that nothing was fitted on"
        publish(f"{PREFIX}{device.name}", f"Residuals of {device.title}", own, note, write=args.write)
        bare = machine_of(name, leave_out=True)
        if bare.parameters:
            found = list(residuals(args.data, name, bare))
            generations[load_profile(device.name).extends[0]] += found
            siblings += found
        bare = replace(device, parameters={}, parameter_grades={}, uncertainty={})
        new += residuals(args.data, name, bare)
    note = "measured over estimated time without what was fitted on the device"
    for base, found in generations.items():
        title = f"Residuals of {base} for its other devices"
        publish(f"{PREFIX}{base}", title, bands(found), note, write=args.write)
    for grade, pool, widened in (("transferred", siblings, 1.0), ("datasheet", new, WIDENED)):
        pooled = bands([item for item in pool if item.unnamed], tail=POOLED_TAIL, widened=widened)
        title = f"Residuals of devices whose parameters are of grade {grade}"
        publish(f"{PREFIX}{grade}", title, pooled, f"{note}; widened {widened:g} times", write=args.write)


def publish(name: str, title: str, found: dict[str, Band], note: str, *, write: bool) -> None:
    """Writes the residuals as a profile, or says how many there are."""
    print(f"{name}: {len(found)} families")
    if write:
        (SHIPPED / f"{name}.yaml").write_text(as_profile(name, title, found, note), encoding="utf-8")


if __name__ == "__main__":
    main()
