"""Measured rows as calls that an engine prices, for fitting: one case for each kind of call on one device."""

# pandas' stubs cannot tell a frame from a series.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gambrel.calibration.families import family_stem
from gambrel.calibration.operation import Call, fold, held_out
from gambrel.calibration.tables import operation_named, read_table
from gambrel.cost.engines import Residency, price
from gambrel.cost.kernel import Array, Kernel, MemoryBound, Scan
from gambrel.hardware.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows of one kind of call.

    Attributes:
        op: Operation, one of its family.
        dtype: Number formats, then the library.
        seconds: Measured, per row.
        held_out: Per row, whether its shape site is kept from fitting.
    """

    op: str
    dtype: str
    call: Call
    seconds: Array
    held_out: np.ndarray

    def take(self, rows: np.ndarray) -> Case:
        """The case with some of its rows."""

        def cut(x: object) -> object:
            return x[rows] if isinstance(x, np.ndarray) and x.ndim else x

        def cut_all(kernel: Kernel | Residency) -> dict[str, object]:
            return {f.name: cut(getattr(kernel, f.name)) for f in fields(kernel)}

        call = replace(
            self.call,
            kernels=tuple(replace(kernel, **cut_all(kernel)) for kernel in self.call.kernels),
            residency=replace(self.call.residency, **cut_all(self.call.residency)),
            overhead_s=cut(self.call.overhead_s),
        )
        return replace(self, call=call, seconds=self.seconds[rows], held_out=self.held_out[rows])

    def only(self, base: str, device: Device) -> Case:
        """The case with the kernels of one family; the others' time on a device is an overhead."""
        mine = tuple(kernel for kernel in self.call.kernels if family_stem(kernel) == base)
        rest = replace(self.call, kernels=tuple(k for k in self.call.kernels if family_stem(k) != base))
        seconds = predict(replace(self, call=rest), device)
        return replace(self, call=replace(self.call, kernels=mine, overhead_s=seconds))

    def nobodys(self) -> Case:
        """The case as if no library in particular ran."""
        kernels = self.call.kernels
        plain = tuple(k if isinstance(k, MemoryBound | Scan) else replace(k, library="") for k in kernels)
        return replace(self, call=replace(self.call, kernels=plain))


def predict(case: Case, device: Device) -> Array:
    """Seconds of each row: the sum over the kernels of the call, and its overhead."""
    total = np.full(case.seconds.shape, case.call.overhead_s)
    for kernel in case.call.kernels:
        total = total + price(kernel, device, case.call.residency).seconds
    return total


@cache
def _table(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    frame["row"] = np.arange(len(frame))
    return frame


def cases(folder: Path, name: str, *, limit: int, device: str) -> Iterator[Case]:
    """The cases of one table on one device, each with at most `limit` rows (fixed seed)."""
    frame = _table(folder / f"{name}.parquet")
    frame = frame[(frame["device"] == device) & frame["latency_us"].notna()]
    operation = operation_named(name)
    columns = [column for column in frame.columns if not frame[column].isna().all()]
    if frame.empty:
        return
    read = read_table(operation, frame[columns].drop(columns=["device", "row"]))
    rng = np.random.default_rng(0)
    for group in operation.groups(read.rows):
        chosen = np.flatnonzero(read.valid[group.where])
        if len(chosen) > limit:
            chosen = np.sort(rng.choice(chosen, limit, replace=False))
        if not len(chosen):
            continue
        rows = group.rows.take(chosen)
        assert operation.build is not None
        yield Case(
            op=group.op,
            dtype=f"{group.dtype} {group.library}",
            call=operation.build(rows),
            seconds=frame["latency_us"].to_numpy(dtype=np.float64)[group.where[chosen]] * 1e-6,
            held_out=held_out(fold(operation.sites(rows))),
        )
