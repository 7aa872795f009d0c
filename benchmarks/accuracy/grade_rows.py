"""Measured rows of one device for the benchmark of grades: which are scored, and which are drawn to calibrate on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.accuracy import read_parquet
from gambrel.calibration.columns import Rows, Table, raw_column, to_text
from gambrel.calibration.limits import sizes_of
from gambrel.calibration.measurements import LATENCY, Measurements
from gambrel.calibration.operation import Group, Operation, fold, held_out
from gambrel.calibration.predict import answer_call, build
from gambrel.calibration.priors import parameter_family
from gambrel.calibration.score import profile_of, roofline_seconds
from gambrel.calibration.tables import operation_named, read_table
from gambrel.cost.kernel import Array, Kernel
from gambrel.errors import GambrelError
from gambrel.hardware.device import Device

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Valid rows of one table on one device.

    Attributes:
        operation: What they are.
        rows: The rows.
        seconds: Measured.
        kept: Which are scored: their shape site is kept from every fit.
    """

    operation: Operation
    rows: Rows
    seconds: Array
    kept: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetError:
    """Mean absolute error of the scored rows of one set of parameters, a fraction."""

    name: str
    rows: int
    error: float


@cache
def _read(path: Path) -> tuple[Operation, Rows, NDArray[np.bool_], tuple[str, ...], Index]:
    table = cast("Table", read_parquet(path))
    operation = operation_named(path.stem)
    read = read_table(operation, table)
    devices = to_text(raw_column(table, "device"))
    valid = read.valid & (read.rows.numbers[LATENCY] > 0)
    return operation, read.rows, valid, devices.values, devices.codes


def profiles_in(path: Path) -> list[str]:
    """The profiles of the devices that a table names, sorted."""
    *_, names, _ = _read(path)
    return sorted({profile_of(name) for name in names} - {""})


def read_rows(path: Path, device: str) -> Measured | None:
    """The rows of a table whose device has a profile's name, or is an alias of it; None where there are none."""
    operation, rows, valid, names, codes = _read(path)
    mine = [i for i, name in enumerate(names) if device in (name, profile_of(name))]
    index = np.flatnonzero(valid & np.isin(codes, mine))
    if operation.build is None or not len(index):
        return None
    chosen = rows.take(index)
    kept = held_out(fold(operation.sites(chosen)))
    return Measured(operation=operation, rows=chosen, seconds=chosen.numbers[LATENCY] * 1e-6, kept=kept)


def errors(measured: Measured, device: Device | None, machine: Device) -> list[SetError]:
    """Errors on the rows that are kept from fitting, by the set of parameters that would price them.

    Args:
        measured: The rows.
        device: With the parameters to score; None for plain roofline.
        machine: Any device of the same links and rates, whose sets are told apart.
    """
    kept = np.flatnonzero(measured.kept)
    found: dict[str, list[Array]] = {}
    for group in measured.operation.groups(measured.rows.take(kept)):
        try:
            call = build(measured.operation, group.rows)
            name = _set_name(call.kernels[call.main], group, machine)
            seconds = answer_call(call, device).seconds if device else roofline_seconds(call, machine)
        except GambrelError:  # no rate or no link: no column has an answer
            continue
        error = np.abs(seconds / measured.seconds[kept][group.where] - 1.0)
        found.setdefault(name, []).append(error)
    pooled = {name: np.concatenate(parts) for name, parts in found.items()}
    return [SetError(name=name, rows=len(x), error=float(x.mean())) for name, x in sorted(pooled.items())]


def _set_name(kernel: Kernel, group: Group, machine: Device) -> str:
    family = parameter_family(kernel, machine)
    return f"{family}@{group.library}" if group.library else family


def _sets(measured: Measured, machine: Device) -> dict[str, tuple[Index, NDArray[np.float64]]]:
    """Rows of each set of parameters, with the logarithms of their kernels' sizes (one column a size)."""
    found: dict[str, list[tuple[Index, NDArray[np.float64]]]] = {}
    for group in measured.operation.groups(measured.rows):
        try:
            call = build(measured.operation, group.rows)
            kernel = call.kernels[call.main]
            name = _set_name(kernel, group, machine)
        except GambrelError:
            continue
        sizes = np.broadcast_arrays(np.zeros(len(group.where)), *sizes_of(kernel).values())[1:]
        logs = np.log(np.maximum(np.stack(sizes, axis=1), 1e-9))
        found.setdefault(name, []).append((group.where, logs))
    return {
        name: (np.concatenate([where for where, _ in parts]), np.concatenate([logs for _, logs in parts]))
        for name, parts in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which rows are drawn of each set of parameters.

    Attributes:
        points: At least so many.
        share: At least this share of all its rows, scored ones included.
        seed: Of the draw.
        spread: Whether each row is the one farthest from those before it, in the logarithms of its sizes, as somebody
            chooses who lays out a measurement; else at random.
    """

    points: int
    share: float
    seed: int
    spread: bool


def draw(measured: Measured, machine: Device, size: Draw) -> Measurements:
    """Rows to calibrate on: none whose site is scored, and no more than there are.

    Args:
        measured: The rows.
        machine: As for `errors`.
        size: How many of each set, and which.
    """
    rng = np.random.default_rng(size.seed)
    chosen: list[Index] = []
    for where, sizes in _sets(measured, machine).values():
        free = np.flatnonzero(~measured.kept[where])
        count = min(max(size.points, int(np.ceil(size.share * len(where)))), len(free))
        order = _farthest(sizes[free], count, rng) if size.spread else rng.permutation(len(free))[:count]
        chosen.append(where[free[order]])
    index = np.sort(np.concatenate(chosen))
    return Measurements(measured.operation, measured.rows.take(index), "drawn", "")


def _farthest(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> Index:
    """Points each of which is the farthest from those before it, the first at random; every size counts alike."""
    if not count:
        return np.array([], dtype=np.intp)
    extent = np.ptp(points, axis=0)
    scaled = points / np.where(extent > 0, extent, 1.0)
    order = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while len(order) < count:
        distance = np.minimum(distance, np.square(scaled - scaled[order[-1]]).sum(axis=1))
        order.append(int(np.argmax(distance)))
    return np.array(order, dtype=np.intp)
