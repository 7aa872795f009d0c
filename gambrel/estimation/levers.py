"""What does not fit, by how much, and the changes that would make it fit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gambrel.errors import PlanError
from gambrel.estimation.checks import check_plan
from gambrel.estimation.evaluate import memory_by_kind
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.resolve import resolve
from gambrel.estimation.result import Lever, MemoryEstimate, Violation
from gambrel.estimation.variant import compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.runtimes import load_engine

MOST_DEGREE = 1024


def violations(
    architecture: Architecture, device: Device, workload: Workload, plan: Plan, memory: MemoryEstimate
) -> list[Violation]:
    """The memory inequality, where a resolved plan violates it, with its levers.

    Args:
        architecture: The model.
        device: The machine.
        workload: The batch.
        plan: Resolved.
        memory: What the plan needs.
    """
    if memory.fits:
        return []
    levers = [lever for lever in _levers(architecture, device, workload, plan) if lever is not None]
    return [
        Violation(
            what="memory of one device",
            demand_bytes=memory.total_bytes,
            limit_bytes=memory.capacity_bytes,
            gap_bytes=memory.total_bytes - memory.capacity_bytes,
            levers=levers,
        )
    ]


Question = tuple[Workload, Plan]


def _levers(architecture: Architecture, device: Device, workload: Workload, plan: Plan) -> Iterator[Lever | None]:
    """The smallest step along each way of saving memory that is enough on its own."""

    def demand(question: Question) -> float | None:
        try:
            return _demand(architecture, device, *question)
        except PlanError:
            return None

    def first(name: str, old: object, steps: Sequence[tuple[object, Question]]) -> Lever | None:
        for value, question in steps:
            need = demand(question)
            if need is not None and need <= float(np.asarray(device.memory_bytes)):
                return Lever(change=f"{name} {old} -> {value}", demand_bytes=need)
        return None

    def degrees(change: Callable[[int], Plan], start: int) -> list[tuple[object, Question]]:
        values = [start * 2**power for power in range(1, 11) if start * 2**power <= MOST_DEGREE]
        return [(value, (workload, change(value))) for value in values]

    yield first("plan.tp", plan.tp, degrees(lambda value: _open(plan, tp=value), plan.tp))
    yield first("plan.pp", plan.pp, degrees(lambda value: _open(plan, pp=value), plan.pp))
    if (plan.ep or 1) > 1 and plan.strategy == "attention-dp-moe-ep":
        dp = plan.dp or 1
        yield first("plan.dp", dp, degrees(lambda value: _open(plan, dp=value), dp))
    for option, formats in (("kv", ("fp8",)), ("weights", ("fp8", "int4"))):
        old = getattr(plan, option) or "unquantised"
        steps = [(f, (workload, replace(plan, **{option: f}))) for f in formats if f != old]
        yield first(f"plan.{option}", old, steps)
    smaller = [workload.batch // 2**power for power in range(1, 40) if workload.batch // 2**power >= 1]
    batches: list[tuple[object, Question]] = [
        (batch, (replace(workload, batch=batch), replace(plan, prefill_microbatches=None, microbatches=None)))
        for batch in smaller
    ]
    yield first("batch", workload.batch, batches)


def _open(plan: Plan, **degrees: int) -> Plan:
    """The plan with other degrees; what follows from the degrees is open again."""
    return replace(
        plan,
        ep=plan.ep if plan.strategy == "megatron" else None,
        prefill_microbatches=None,
        microbatches=None,
        **degrees,
    )


def _demand(architecture: Architecture, device: Device, workload: Workload, plan: Plan) -> float:
    resolved = resolve(architecture, device, workload, plan, None)
    check_plan(architecture, device, workload, resolved.plan)
    variant = compile_variant(architecture, resolved.structure)
    memory = memory_by_kind(variant, resolved.points(workload), load_engine(plan.engine))
    return float(np.asarray(sum(memory.values(), np.zeros(()))))
