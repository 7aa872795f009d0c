"""What lies behind one estimate: its kernels in time, and how far measured ones may lie from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gambrel.calibration.operation import Call
from gambrel.calibration.predict import Answer, answer_call
from gambrel.cost.engines.libraries import with_libraries
from gambrel.cost.engines.lookup import Grade
from gambrel.cost.kernel import Kernel
from gambrel.cost.program import CACHED
from gambrel.cost.rates import rates_of
from gambrel.cost.rows import Row
from gambrel.cost.vectorise import Array, Vectorised
from gambrel.estimation.api import Machine, Model, ask
from gambrel.estimation.evaluate import PhaseTotals, cache_span, phase_totals
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.timeline import Timeline, TimelineQuestion, phase_timeline
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device
from gambrel.ir.structure import PhaseName
from gambrel.runtimes import EngineOverheads


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyInterval:
    """The kernels of one family in one phase, and between which times measured ones would lie.

    Attributes:
        family: Op family.
        grade: Where the parameters come from that price its longest kernel.
        seconds: Of all its kernels on the mean device.
        lower_s, upper_s: The same with each kernel at the bounds that 95 of 100 measured calls of its kind keep.
        extrapolated_s: Of the seconds, those of kernels that are larger or smaller than what was fitted.
    """

    family: str
    grade: Grade
    seconds: float
    lower_s: float
    upper_s: float
    extrapolated_s: float


def timeline(  # noqa: PLR0913  (as `estimate`)
    model: Model,
    on: Machine,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Timeline:
    """When each kernel and transfer of the prefill and of the mean decode step runs; arguments as those of `estimate`.

    Raises:
        GambrelError: As `estimate`, or there are too many microbatches to draw.
    """
    q = ask(
        model,
        on,
        plan=plan,
        workload=workload,
        devices=devices,
        overrides=overrides,
        allow_unpriced=allow_unpriced,
    )
    result = q.evaluate()
    rest = TimelineQuestion(
        segments=q.variant.program.table.segments, device=q.device, points=q.points, engine=q.engine
    )
    several = q.workload.osl > 1
    return Timeline(
        prefill=phase_timeline(result.prefill, "prefill", rest),
        decode=phase_timeline(result.decode, "decode", rest) if several else None,
    )


def intervals(  # noqa: PLR0913  (as `estimate`)
    model: Model,
    on: Machine,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Mapping[PhaseName, Sequence[FamilyInterval]]:
    """How far the kernels of an estimate may lie from measured ones, by phase and family; arguments as of `estimate`.

    The bounds are those of `predict_kernels`: residuals of kernels that were measured, of this device where its profile
    has them. They are of single kernels: engines, imbalance and the order of kernels are not in them.

    Raises:
        GambrelError: As `estimate`.
    """
    device = on if isinstance(on, Device) else load_device(on, tuple(overrides))
    q = ask(model, device, plan=plan, workload=workload, devices=devices, allow_unpriced=allow_unpriced)
    phases: tuple[PhaseName, ...] = ("prefill", "decode") if q.workload.osl > 1 else ("prefill",)
    totals = {name: phase_totals(q.variant, device, rates_of(device), q.points, name, q.engine) for name in phases}
    return {name: _families(totals[name], name, q.points, device, q.engine) for name in phases}


def _families(
    totals: PhaseTotals, phase: PhaseName, points: Points, device: Device, engine: EngineOverheads
) -> list[FamilyInterval]:
    span = cache_span(phase, points)
    middle = np.floor((span.first + span.last) / 2.0)
    kernels = _kernels([p.row for p in totals.rows], {**points.binding(phase), CACHED: middle})
    device = _run_by(device, engine)
    found: dict[str, list[tuple[float, Answer]]] = {}
    for price, weight, kernel in zip(totals.rows, totals.weights, kernels, strict=True):
        seconds = float(price.seconds * weight)
        if kernel is not None and seconds > 0.0:
            answer = answer_call(Call(kernels=(kernel,)), device)
            found.setdefault(price.row.family, []).append((seconds, answer))
    return [_interval(family, answers) for family, answers in found.items()]


def _interval(family: str, answers: Sequence[tuple[float, Answer]]) -> FamilyInterval:
    """Sums over kernels; each is as far from its bounds as the answer that stands for it is, in proportion."""
    _, longest = max(answers, key=lambda item: item[0])
    return FamilyInterval(
        family=family,
        grade=longest.grade,
        seconds=sum(seconds for seconds, _ in answers),
        lower_s=sum(seconds * float(answer.lower_s / answer.seconds) for seconds, answer in answers),
        upper_s=sum(seconds * float(answer.upper_s / answer.seconds) for seconds, answer in answers),
        extrapolated_s=sum(seconds for seconds, answer in answers if bool(answer.extrapolated)),
    )


def _run_by(device: Device, engine: EngineOverheads) -> Device:
    """The device with the parameters and the residuals of an engine's libraries as its own."""
    bounds = dict(device.uncertainty)
    for library in reversed(engine.libraries):
        named = (key.partition("@") for key in device.uncertainty)
        bounds |= {name: device.uncertainty[f"{name}@{owner}"] for name, _, owner in named if owner == library}
    return replace(with_libraries(device, engine.libraries), uncertainty=bounds)


def _kernels(rows: Sequence[Row], binding: Mapping[str, Array]) -> list[Kernel | None]:
    """The kernel of each row at one design point."""
    sizes = [size for row in rows if row.kernel is not None for size in row.kernel.sizes.values()]
    values = Vectorised(sizes)(binding)
    out: list[Kernel | None] = []
    for row in rows:
        kernel = None
        if row.kernel is not None:
            kernel = row.kernel.bind({name: values[size] for name, size in row.kernel.sizes.items()})
        out.append(kernel)
    return out
