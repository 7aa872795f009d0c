"""Measured rows as cases that a fit prices: rows of one kind of call, gathered by the family that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gambrel.calibration.measurements import LATENCY, Measurements
from gambrel.calibration.operation import Call
from gambrel.calibration.predict import build, with_rate
from gambrel.calibration.priors import parameter_family
from gambrel.cost.engines import Residency, price
from gambrel.cost.kernel import Array, Kernel
from gambrel.errors import GambrelError, Problem, UnpricedOpError
from gambrel.hardware.device import Device

Cuttable = TypeVar("Cuttable", bound=Kernel | Residency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows of one kind of call.

    Attributes:
        call: For no library in particular.
        named: The same for the library that was measured, which the error before the fit counts.
        library: Whose kernels; empty for none in particular.
        seconds: Measured.
        sites: Shape site of each row.
        shapes: What tells the rows' shapes apart.
    """

    call: Call
    named: Call
    library: str
    seconds: Array
    sites: tuple[str, ...]
    shapes: tuple[str, ...]

    @property
    def kernel(self) -> Kernel:
        """The kernel that names the call."""
        return self.call.kernels[self.call.main]

    def take(self, rows: NDArray[np.intp]) -> "Case":
        """Some of the rows."""
        return replace(
            self,
            call=_cut(self.call, rows),
            named=_cut(self.named, rows),
            seconds=self.seconds[rows],
            sites=_pick(self.sites, rows),
            shapes=_pick(self.shapes, rows),
        )


class Family(NamedTuple):
    """Cases that one set of parameters prices, the files that they come from, and what was measured."""

    cases: list[Case]
    origins: list[str]
    operation: str


def predict_case(case: Case, device: Device, *, named: bool = False) -> Array:
    """Seconds of each row: the sum over the kernels of the call, and its overhead."""
    call = case.named if named else case.call
    total = np.full(case.seconds.shape, call.overhead_s)
    for kernel in call.kernels:
        total = total + price(kernel, device, call.residency).seconds
    return total


def collect(part: Measurements, device: Device, found: dict[str, Family], skipped: list[Problem]) -> None:
    """Adds the cases of measured rows to their families, and what no engine prices to what is skipped."""
    for group in part.operation.groups(part.rows):
        try:
            call = build(part.operation, group.rows)
            named = replace(call, kernels=tuple(with_rate(kernel, device) for kernel in call.kernels))
            plain = replace(named, kernels=tuple(map(_nobodys, named.kernels)))
            case = Case(
                call=plain,
                named=named,
                library=str(getattr(named.kernels[named.main], "library", "")),
                seconds=group.rows.numbers[LATENCY] * 1e-6,
                sites=tuple(part.operation.sites(group.rows)),
                shapes=_shapes(group.op, group.rows.numbers, len(group.where)),
            )
            predict_case(case, device)
            name = parameter_family(case.kernel, device)
        except UnpricedOpError as error:
            skipped += error.problems
            return
        except GambrelError as error:
            skipped += [replace(p, where=f"{part.operation.name} {group.dtype}: {p.where}") for p in error.problems]
            continue
        family = found.setdefault(name, Family([], [], part.operation.name))
        family.cases.append(case)
        if part.origin not in family.origins:
            family.origins.append(part.origin)


def _shapes(op: str, numbers: Mapping[str, Array], length: int) -> tuple[str, ...]:
    columns = [np.broadcast_to(values, length).tolist() for name, values in sorted(numbers.items()) if name != LATENCY]
    return tuple(f"{op} {cells}" for cells in zip(*columns, strict=True)) if columns else (op,) * length


def _pick(values: Sequence[str], rows: NDArray[np.intp]) -> tuple[str, ...]:
    chosen: list[int] = rows.tolist()
    return tuple(values[i] for i in chosen)


def _nobodys(kernel: Kernel) -> Kernel:
    return replace(kernel, library="") if getattr(kernel, "library", "") else kernel


def _cut(call: Call, rows: NDArray[np.intp]) -> Call:
    def cut(whole: Cuttable) -> Cuttable:
        values = {field.name: getattr(whole, field.name) for field in fields(whole)}
        return replace(whole, **{name: x[rows] for name, x in values.items() if np.ndim(x)})

    overhead = np.asarray(call.overhead_s)[rows] if np.ndim(call.overhead_s) else call.overhead_s
    kernels = tuple(map(cut, call.kernels))
    return replace(call, kernels=kernels, residency=cut(call.residency), overhead_s=overhead)
