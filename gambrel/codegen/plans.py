"""The graph of an estimate over many plans: lengths, degrees and numbers of the device are inputs.

Degrees decide which axes are in use, and so which variant is compiled. The variants of all combinations of degrees are
traced into one graph, where they share what they have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gambrel.codegen.estimate import results
from gambrel.codegen.graph import Graph
from gambrel.codegen.tracing import Trace
from gambrel.cost.numbers import with_numbers
from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError
from gambrel.estimation.checks import WORKLOAD_RULES, fixed_problems
from gambrel.estimation.evaluate import evaluate
from gambrel.estimation.points import LARGEST, LENGTHS, Plan, Points, Workload
from gambrel.estimation.resolve import open_microbatches, plan_numbers, resolve
from gambrel.estimation.variant import Structure, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.runtimes import load_engine

DEGREES = ("tp", "pp", "dp", "ep")
"""Degrees that are inputs, in the order of combinations."""

Combination = tuple[int, ...]
"""A value of each of DEGREES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGraph:
    """Estimates over lengths, degrees and numbers of a device.

    Attributes:
        graph: An output is named by the number of its variant and the path of the result, `0.ttft_s`; `broken.1` is
            whether rule 1 of WORKLOAD_RULES is broken.
        degrees: The values of each degree.
        variants: The number of the variant of each combination that can run.
        problems: Why the others cannot.
    """

    graph: Graph
    degrees: Mapping[str, Sequence[int]]
    variants: Mapping[Combination, int]
    problems: Mapping[Combination, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is traced.

    Attributes:
        architecture: The model.
        device: The machine.
        plan: What is no input: strategy, formats, engine, micro-batches; its degrees are not looked at.
        degrees: The values of each of DEGREES that there may be.
        numbers: Numbers of the device that are inputs.
        outputs: How the paths of the results that are wanted begin.
        allow_unpriced: As in `estimate`.
    """

    architecture: Architecture
    device: Device
    plan: Plan
    degrees: Mapping[str, Sequence[int]]
    numbers: Sequence[str]
    outputs: tuple[str, ...]
    allow_unpriced: bool = False


def trace_plans(ask: Ask) -> PlanGraph:
    """Trace the estimates of a plan with any degrees.

    Raises:
        GambrelError: An op has no cost rule, or the engine is unknown.
    """
    structures: dict[Structure, int] = {}
    variants: dict[Combination, int] = {}
    problems: dict[Combination, str] = {}
    for values in product(*(ask.degrees[name] for name in DEGREES)):
        found = _structure(ask, values)
        if isinstance(found, Structure):
            variants[values] = structures.setdefault(found, len(structures))
        else:
            problems[values] = found
    engine = load_engine(ask.plan.engine)
    with Trace() as trace:
        machine = with_numbers(ask.device, {name: trace.input(name) for name in ask.numbers})
        where = _points(ask, trace)
        made: dict[str, Array | NDArray[np.bool_]] = {}
        for structure, number in structures.items():
            variant = compile_variant(ask.architecture, structure, allow_unpriced=ask.allow_unpriced)
            found = results(evaluate(variant, machine, rates_of(machine), where, engine), where)
            made |= {f"{number}.{path}": value for path, value in found.items() if path.startswith(ask.outputs)}
        for number, rule in enumerate(WORKLOAD_RULES):
            made[f"broken.{number}"] = rule.broken(ask.architecture, where)
        graph = trace.graph(made)
    return PlanGraph(graph=graph, degrees=ask.degrees, variants=variants, problems=problems)


def _structure(ask: Ask, values: Combination) -> Structure | str:
    """What is compiled for a combination, or why it cannot run whatever the lengths."""
    plan = replace(ask.plan, **dict(zip(DEGREES, values, strict=True)))
    try:
        resolved = resolve(ask.architecture, ask.device, Workload(batch=LARGEST), plan, None)
        found = list(fixed_problems(ask.architecture, ask.device, resolved.plan))
    except PlanError as error:
        found = list(error.problems)
    else:
        if not found:
            return resolved.structure
    return "; ".join(problem.what for problem in found)


def _points(ask: Ask, trace: Trace) -> Points:
    lengths = {name: trace.input(name) for name in LENGTHS}
    degrees = {name: trace.input(name, [float(value) for value in ask.degrees[name]]) for name in DEGREES}
    parts = open_microbatches(degrees["pp"], degrees["dp"], lengths["batch"])
    is_open = {name: value for name, value in parts.items() if getattr(ask.plan, name) is None}
    return Points.of(**{**plan_numbers(ask.plan), **lengths, **degrees, **is_open})
