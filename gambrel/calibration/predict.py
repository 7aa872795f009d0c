"""Seconds, interval and bound of measured operations from columns of shapes: `predict_kernels`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.columns import Rows, Table
from gambrel.calibration.families import grade_of
from gambrel.calibration.intervals import band_of
from gambrel.calibration.limits import WIDER, beyond_fitted
from gambrel.calibration.operation import Call, Group, Operation
from gambrel.calibration.tables import operation_named, read_table
from gambrel.cost.energy import has_energy, operate, standing_w
from gambrel.cost.engines import Grade
from gambrel.cost.engines.cpu import as_product
from gambrel.cost.kernel import (
    BOUNDS,
    Array,
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    MemoryBound,
    Scan,
    Transfer,
)
from gambrel.cost.rates import resolve_rate
from gambrel.errors import GambrelError, PlanError, Problem, UnpricedOpError
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

if TYPE_CHECKING:
    import pandas  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

Machine = str | Path | Device
T = TypeVar("T")

PIECE_ROWS = 2**15
"""Rows that are priced at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEstimates:
    """One estimate a row, in the order of the table.

    Attributes:
        seconds: Of one call.
        lower_s, upper_s: Between which 95 of 100 measured calls lie.
        bound: What takes the longest: compute, memory, network or latency.
        grade: How well the parameters are known: calibrated, transferred or datasheet.
        watts: Mean power of the device during the call; None where the profile has no energies.
        joules: Energy of the call; None likewise.
        extrapolated: Whether a size lies outside those that the parameters were fitted on, where the profile says
            which these are; the interval is wider then.
    """

    seconds: Array
    lower_s: Array
    upper_s: Array
    bound: NDArray[np.str_]
    grade: NDArray[np.str_]
    watts: Array | None
    joules: Array | None
    extrapolated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.seconds)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, without those that are None."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: values for name, values in named.items() if values is not None}

    def to_dict(self) -> dict[str, list[float] | list[str]]:
        """Plain lists by column."""
        return {name: values.tolist() for name, values in self.columns().items()}

    def to_arrow(self) -> "pyarrow.Table":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """An Arrow table.

        Raises:
            ImportError: pyarrow is not installed (`pip install gambrel[arrow]`).
        """
        import pyarrow  # pyright: ignore[reportMissingTypeStubs]

        return pyarrow.table(self.columns())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame.

        Raises:
            ImportError: pandas is not installed (`pip install gambrel[pandas]`).
        """
        import pandas  # pyright: ignore[reportMissingTypeStubs]

        return pandas.DataFrame(self.columns())


class Answer(NamedTuple):
    """Estimates of the rows of one call; arrays of the rows' length, but for the grade."""

    seconds: Array
    lower_s: Array
    upper_s: Array
    bound: NDArray[np.int8]
    grade: Grade
    joules: Array | None
    extrapolated: NDArray[np.bool_]


def predict_kernels(op: str, device: Machine, table: Table) -> KernelEstimates:
    """Estimate measured operations from their shapes.

    Args:
        op: Which operation: `gemm`, `attention_prefill`, `attention_decode`, `memory_bound`, `moe`, `collective`, ...
        device: A profile's name or path, or a device.
        table: Columns by name (`m`, `n`, `k`, `dtype`, ... as in the measured tables): a mapping of arrays in which
            scalars stand for all rows, a pyarrow table, or a data frame. `backend` and `kernel_source` say whose
            kernels run; columns that the operation does not know are ignored.

    Returns:
        One estimate a row.

    Raises:
        PlanError: The operation or the device is unknown, a column is missing, columns differ in length, or a value is
            negative, missing or unknown; all of it at once. Also: no rate for a number format.
        UnpricedOpError: No engine prices the operation.
    """
    problems: list[Problem] = []
    machine = _collect(problems, lambda: device if isinstance(device, Device) else load_device(device))
    operation = _collect(problems, lambda: operation_named(op))
    read = None
    if operation is not None:
        read = read_table(operation, table)
        problems += read.problems
        if operation.build is None:
            raise UnpricedOpError(*problems, unpriced(operation))
    if problems or machine is None or operation is None or read is None:
        raise PlanError(*problems)
    return _assemble(operation, machine, read.rows)


def unpriced(operation: Operation) -> Problem:
    """That an operation has no engine."""
    why = "no engine prices it; an estimate would be a guess"
    return Problem(where=operation.name, what="cannot be estimated", why=why)


def _assemble(operation: Operation, device: Device, rows: Rows) -> KernelEstimates:
    count = rows.length
    seconds, lower, upper, joules = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    bound, grade = np.empty(count, dtype=np.int8), np.empty(count, dtype="U11")
    extrapolated = np.zeros(count, dtype=np.bool_)
    powered = True
    for group in _pieces(operation.groups(rows)):
        answer = answer_call(build(operation, group.rows), device)
        where = group.where
        seconds[where], lower[where], upper[where] = answer.seconds, answer.lower_s, answer.upper_s
        bound[where], grade[where] = answer.bound, answer.grade
        extrapolated[where] = answer.extrapolated
        if answer.joules is None:
            powered = False
        else:
            joules[where] = answer.joules
    watts = np.divide(joules, seconds, out=np.zeros(count), where=seconds > 0) if powered else None
    return KernelEstimates(
        seconds=seconds,
        lower_s=lower,
        upper_s=upper,
        bound=np.array(BOUNDS)[bound],
        grade=grade,
        watts=watts,
        joules=joules if powered else None,
        extrapolated=extrapolated,
    )


def _pieces(groups: Iterable[Group]) -> Iterator[Group]:
    """The same groups, cut so that their arrays stay in a core's cache."""
    for group in groups:
        if len(group.where) <= PIECE_ROWS:
            yield group
            continue
        for start in range(0, len(group.where), PIECE_ROWS):
            part = np.arange(start, min(start + PIECE_ROWS, len(group.where)))
            yield group._replace(where=group.where[part], rows=group.rows.take(part))


def build(operation: Operation, rows: Rows) -> Call:
    """The call of rows that differ in numbers only.

    Raises:
        UnpricedOpError: No engine prices the operation.
    """
    if operation.build is None:
        raise UnpricedOpError(unpriced(operation))
    return operation.build(rows)


def answer_call(call: Call, device: Device) -> Answer:
    """Prices a call: the sum over its kernels and its overhead, with the interval of its main kernel.

    The bound is that of the kernel that takes the longest.

    Raises:
        PlanError: No rate for a number format, or a transfer on a device without links.
    """
    kernels = [with_rate(kernel, device) for kernel in call.kernels]
    total, longest, bound = np.asarray(call.overhead_s), np.asarray(0.0), np.asarray(3, dtype=np.int8)
    joules = np.asarray(0.0)
    for kernel in kernels:
        point = operate(kernel, device, call.residency)
        bound = np.where(point.seconds >= longest, point.bound, bound)
        longest = np.maximum(longest, point.seconds)
        total, joules = total + point.seconds, joules + point.joules
    seconds = np.where(longest > 0.0, total, 0.0)
    main = kernels[call.main]
    lower, upper = band_of(main, device).ratios(seconds)
    beyond = beyond_fitted(main, device)
    wider = np.exp(WIDER * beyond)
    return Answer(
        seconds=seconds,
        lower_s=seconds * lower / wider,
        upper_s=seconds * upper * wider,
        bound=bound.astype(np.int8),
        grade=grade_of(main, device),
        joules=joules + call.overhead_s * standing_w(device.power) if has_energy(device) else None,
        extrapolated=beyond > 0.0,
    )


def with_rate(kernel: Kernel, device: Device) -> Kernel:
    """The kernel as the device runs it: at the next wider rate where it lacks the kernel's own.

    A host runs a convolution as a product.

    Raises:
        PlanError: The device has no such rate.
    """
    match kernel:
        case MemoryBound() | Transfer():
            return kernel
        case Convolution() if device.engine == "cpu":
            return with_rate(as_product(kernel), device)
        case Gemm() | Convolution() | GroupedGemm() | Attention() | Scan():
            rate = resolve_rate(device, kernel.rate)
            return kernel if rate == kernel.rate else replace(kernel, rate=rate)


def _collect(problems: list[Problem], get: Callable[[], T]) -> T | None:
    """A value, or its problems added to the others."""
    try:
        return get()
    except GambrelError as error:
        problems += error.problems
        return None
