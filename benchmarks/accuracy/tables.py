"""The measured kernel tables as cases to fit on: rows of one operation, device, number format and library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gambrel.calibration.accuracy import read_parquet
from gambrel.calibration.columns import raw_column, to_text
from gambrel.calibration.operation import Group, Operation, fold
from gambrel.calibration.operation import held_out as kept_from_fitting
from gambrel.calibration.ops.common import SERVING
from gambrel.calibration.predict import build
from gambrel.calibration.tables import OPERATIONS, read_table
from gambrel.cost.engines import Residency
from gambrel.cost.kernel import Array, Kernel

__all__ = ["SERVING", "Case", "cases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows of one operation on one device in one format through one library.

    Attributes:
        op: The operation, with its kind where there are several: `memory_bound softmax`.
        dtype: Number formats and library: `fp8 vllm`, `bfloat16 kv fp8 trtllm`; of collectives the library alone.
        kernels: What one measured call runs, one after another; arrays of the rows' length, or scalars.
        seconds: Measured, per row.
        held_out: Per row, whether its shape site is kept from fitting.
        overhead_s: Time of the measured call that is no kernel's.
    """

    op: str
    device: str
    dtype: str
    kernels: tuple[Kernel, ...]
    residency: Residency
    seconds: Array
    held_out: np.ndarray
    overhead_s: float = 0.0


def cases(folder: Path, name: str, *, limit: int, device: str | None = None) -> Iterator[Case]:
    """The cases of one table; those with the same labels have at most `limit` rows together (fixed seed).

    Args:
        folder: Of the measured tables.
        name: Which one.
        limit: Most rows.
        device: Only this one, as the table names it.
    """
    operation = OPERATIONS[name]
    table = read_parquet(folder / f"{name}.parquet")
    codes, devices = to_text(raw_column(table, "device"))
    read = read_table(operation, table)
    for number, where in enumerate(devices):
        if device not in (None, where):
            continue
        labelled: dict[tuple[str, str], list[Group]] = defaultdict(list)
        for group in operation.groups(read.rows.take(np.flatnonzero((codes == number) & read.valid))):
            labelled[labels(operation, group)].append(group)
        for (op, dtype), groups in labelled.items():
            yield from _cases(operation, where, op, dtype, groups, limit)


def labels(operation: Operation, group: Group) -> tuple[str, str]:
    """What a case of the group is called: its operation, and its formats with its library."""
    op = operation.name if group.op == operation.name else f"{operation.name} {group.op}"
    if operation.name == "collective":
        return op, group.library
    if operation.name == "memory_bound":
        return op, group.dtype
    formats = group.dtype
    if operation.name.startswith("attention") and " kv " not in formats:
        formats = f"{formats} kv {group.rows.only('kv_dtype') or formats}"
    return op, f"{formats} {group.library}"


def _cases(operation: Operation, device: str, op: str, dtype: str, groups: list[Group], limit: int) -> Iterator[Case]:
    total = sum(group.rows.length for group in groups)
    kept = np.sort(np.random.default_rng(0).permutation(total)[:limit])
    start = 0
    for group in groups:
        end = start + group.rows.length
        rows = group.rows.take(kept[(kept >= start) & (kept < end)] - start)
        start = end
        if not rows.length:
            continue
        call = build(operation, rows)
        yield Case(
            op=op,
            device=device,
            dtype=dtype,
            kernels=call.kernels,
            residency=call.residency,
            seconds=rows.numbers["latency_us"] * 1e-6,
            held_out=kept_from_fitting(fold(operation.sites(rows))),
            overhead_s=call.overhead_s,
        )
