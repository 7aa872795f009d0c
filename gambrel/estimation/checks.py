"""Whether a plan can run at all: every rule that it breaks, with the numbers."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.errors import PlanError, Problem
from gambrel.estimation.placement import PLACEMENTS, neighbours
from gambrel.estimation.points import LENGTHS, Plan, Points, Workload
from gambrel.estimation.resolve import plan_numbers
from gambrel.frontends.architecture import Architecture, LatentAttention, MoE, SelfAttention
from gambrel.hardware.device import Device
from gambrel.passes.shard import find_strategy


def check_plan(
    architecture: Architecture, device: Device | None, workload: Workload, plan: Plan, devices: int | None = None
) -> None:
    """Refuse a resolved plan that no engine would run; without a device, the topology is not looked at.

    Degrees that split widths unevenly (feed-forward width, vocabulary, experts, layers, batch) run with padded or
    uneven shards and are priced so; heads must divide.

    Raises:
        PlanError: With all broken rules.
    """
    problems = list(plan_problems(architecture, device, workload, plan, devices))
    if problems:
        raise PlanError(*problems)


def plan_problems(
    architecture: Architecture, device: Device | None, workload: Workload, plan: Plan, devices: int | None = None
) -> Iterator[Problem]:
    """Every rule that a resolved plan breaks; `where` names the option."""
    yield from fixed_problems(architecture, device, plan, devices)
    points = Points.of(**{name: float(getattr(workload, name)) for name in LENGTHS}, **plan_numbers(plan))
    for rule in WORKLOAD_RULES:
        if rule.broken(architecture, points):
            yield rule.problem(architecture, workload, plan)


def check_lengths(architecture: Architecture, workload: Workload) -> None:
    """Refuse sequences that are too long for a model under any plan.

    Raises:
        PlanError: The model has a table of learned positions, and they are more.
    """
    points = Points.of(**{name: float(getattr(workload, name)) for name in LENGTHS})
    if _positions_run_out(architecture, points):
        raise PlanError(_too_few_positions(architecture, workload, Plan()))


def fixed_problems(
    architecture: Architecture, device: Device | None, plan: Plan, devices: int | None = None
) -> Iterator[Problem]:
    """The rules that a resolved plan breaks under any workload."""
    yield from _degree_problems(plan, device, devices)
    yield from _head_problems(architecture, plan)
    yield from _expert_problems(architecture, plan)
    yield from _stage_problems(architecture, plan)
    yield from placement_problems(plan)


class WorkloadRule(NamedTuple):
    """A rule on what a plan makes of a workload.

    Attributes:
        broken: Where among design points it is broken.
        problem: What to say of one of them.
    """

    broken: Callable[[Architecture, Points], NDArray[np.bool_]]
    problem: Callable[[Architecture, Workload, Plan], Problem]


def _degree_problems(plan: Plan, device: Device | None, devices: int | None) -> Iterator[Problem]:
    used = plan.tp * plan.pp * (plan.dp or 1) * plan.cp
    equation = f"tp {plan.tp} x pp {plan.pp} x dp {plan.dp} x cp {plan.cp} = {used}"
    if devices is not None and used != devices:
        yield Problem(
            where="plan",
            what=f"{equation}, but {devices} devices are asked for",
            fix="Make the product of the degrees equal to the number of devices, or leave dp open",
        )
    most = used if device is None else max((link.size for link in device.links), default=1)
    if device is not None and used > most:
        yield Problem(
            where="plan",
            what=f"{equation} devices, but the topology of {device.name} joins at most {most}",
            fix="Use fewer devices, or a profile with a larger outermost link",
        )


def _head_problems(architecture: Architecture, plan: Plan) -> Iterator[Problem]:
    seen: set[tuple[int, int]] = set()
    for _, layer in architecture.counted_layers():
        attention = layer.attention
        if isinstance(attention, SelfAttention):
            seen.add((attention.heads, attention.kv_heads))
        elif isinstance(attention, LatentAttention):
            seen.add((attention.heads, 1))
    for heads, kv_heads in sorted(seen):
        if heads % plan.tp:
            yield Problem(
                where="plan.tp",
                what=f"{heads} attention heads do not divide over tp: {heads} % {plan.tp} = {heads % plan.tp}",
                why="a head is not split over devices",
                fix=f"Use one of {_divisors(heads)}",
            )
        elif kv_heads % plan.tp and plan.tp % kv_heads:
            yield Problem(
                where="plan.tp",
                what=f"{kv_heads} key-value heads neither divide over nor replicate to tp = {plan.tp}",
                fix=f"Use one of {[d for d in _divisors(heads) if kv_heads % d == 0 or d % kv_heads == 0]}",
            )


def _expert_problems(architecture: Architecture, plan: Plan) -> Iterator[Problem]:
    ep, group = plan.ep or 1, (plan.dp or 1) * plan.cp * plan.tp
    experts = {layer.ffn.experts for _, layer in architecture.counted_layers() if isinstance(layer.ffn, MoE)}
    if ep > 1 and not experts:
        yield Problem(where="plan.ep", what=f"ep = {ep}, but {architecture.name} has no experts", fix="Leave ep out")
        return
    if ep > 1 and plan.strategy in ("megatron", "sequence-parallel"):
        yield Problem(
            where="plan.ep",
            what=f"ep = {ep}, but the strategy {plan.strategy} splits no experts",
            fix="Use the strategy moe-ep (inside a tp group) or attention-dp-moe-ep (across replicas)",
        )
    if plan.strategy == "moe-ep" and plan.tp % ep:
        fix = f"Use one of {_divisors(plan.tp)}, or the strategy attention-dp-moe-ep"
        yield Problem(where="plan.ep", what=f"ep = {ep} does not divide tp = {plan.tp}", fix=fix)
    if plan.strategy == "attention-dp-moe-ep" and group % ep:
        what = f"ep = {ep} does not divide dp x cp x tp = {group}"
        yield Problem(where="plan.ep", what=what, fix=f"Use one of {_divisors(group)}")
    for count in sorted(experts):
        if ep > count:
            yield Problem(where="plan.ep", what=f"ep = {ep} exceeds the {count} experts", fix=f"Use at most {count}")


def _stage_problems(architecture: Architecture, plan: Plan) -> Iterator[Problem]:
    if plan.pp > architecture.num_layers:
        yield Problem(
            where="plan.pp",
            what=f"{plan.pp} stages for {architecture.num_layers} layers",
            fix=f"Use at most {architecture.num_layers}",
        )
    where, parts = "plan.sub_batches", plan.sub_batches
    if parts > 2:
        yield Problem(where=where, what=f"{parts} sub-batches", why="two halves take turns", fix="Use 1 or 2")
    if parts > 1 and plan.pp > 1:
        why = "stages overlap transfers by their microbatches already"
        yield Problem(where=where, what=f"{parts} sub-batches with pp = {plan.pp}", why=why, fix="Use one of the two")


def placement_problems(plan: Plan) -> Iterator[Problem]:
    """Groups whose ranks do not follow each other in the plan's placement."""
    axes = find_strategy(plan.strategy).joint_axes if plan.strategy else ()
    degrees = {"tp": plan.tp, "cp": plan.cp, "dp": plan.dp or 1, "pp": plan.pp}
    name = "-".join(axis for axis in (plan.placement or PLACEMENTS[0]).split("-") if degrees[axis] > 1)
    joint = [axis for axis in axes if degrees[axis] > 1]
    if len(joint) > 1 and not neighbours(name, joint):
        yield Problem(
            where="plan.placement",
            what=f"{plan.placement} lays out {' and '.join(joint)} with another axis between them",
            why=f"the strategy {plan.strategy} has groups over all of them, which take ranks in a row",
            fix="Put the other axis inside or outside of them",
        )


def _halves_are_empty(_: Architecture, points: Points) -> NDArray[np.bool_]:
    return (points.sub_batches > 1.0) & (np.ceil(points.batch / points.dp) < points.sub_batches)


def _empty_halves(_: Architecture, workload: Workload, plan: Plan) -> Problem:
    what = f"{plan.sub_batches} sub-batches of {-(-workload.batch // (plan.dp or 1))} sequence on each replica"
    return Problem(where="plan.sub_batches", what=what, fix="Use a larger batch, or 1")


def _parts_rule(name: Literal["prefill_microbatches", "microbatches"]) -> WorkloadRule:
    """No more microbatches than sequences."""

    def broken(_: Architecture, points: Points) -> NDArray[np.bool_]:
        return np.asarray(getattr(points, name) > points.batch)

    def problem(_: Architecture, workload: Workload, plan: Plan) -> Problem:
        what = f"{getattr(plan, name)} microbatches of a batch of {workload.batch}"
        return Problem(where=f"plan.{name}", what=what, fix=f"Use at most {workload.batch}")

    return WorkloadRule(broken, problem)


def _positions_run_out(architecture: Architecture, points: Points) -> NDArray[np.bool_]:
    return np.asarray(points.context > (architecture.learned_positions or np.inf))


def _too_few_positions(architecture: Architecture, workload: Workload, _: Plan) -> Problem:
    return Problem(
        where="workload",
        what=f"prefix {workload.prefix} + isl {workload.isl} + osl {workload.osl} tokens",
        why=f"{architecture.name} has a table of {architecture.learned_positions} learned positions",
        fix="Ask for shorter sequences",
    )


WORKLOAD_RULES = (
    WorkloadRule(_halves_are_empty, _empty_halves),
    _parts_rule("prefill_microbatches"),
    _parts_rule("microbatches"),
    WorkloadRule(_positions_run_out, _too_few_positions),
)
"""What the numbers of a workload can break, one point or a million alike."""


def _divisors(value: int) -> list[int]:
    return [d for d in range(1, value + 1) if value % d == 0]
