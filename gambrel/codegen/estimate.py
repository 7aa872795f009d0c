"""The graph of an estimate: what `evaluate` computes for a compiled variant, with its numbers as inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from gambrel.codegen.graph import Graph
from gambrel.codegen.tracing import Trace
from gambrel.cost.numbers import DeviceNumber, device_numbers, with_numbers
from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.estimation.evaluate import Evaluation, evaluate
from gambrel.estimation.points import LENGTHS, Points
from gambrel.estimation.steady import steady
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device
from gambrel.runtimes.profile import IDEAL, EngineOverheads

TITLES = {"batch": "batch", "isl": "prompt tokens", "osl": "output tokens", "prefix": "cached tokens"}
"""Of the lengths, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateGraph:
    """An estimate as a graph, and the point that it was asked at.

    Attributes:
        graph: From the inputs to every number of an `Evaluation`, by its path: `prefill.by_family.gemm`.
        inputs: What each input is, with its value at that point; inputs that nothing depends on included.
    """

    graph: Graph
    inputs: Mapping[str, DeviceNumber]

    @property
    def point(self) -> dict[str, float]:
        """The values of the inputs at the point that was asked."""
        return {name: float(each.value) for name, each in self.inputs.items()}


def trace_estimate(variant: Variant, device: Device, points: Points, engine: EngineOverheads = IDEAL) -> EstimateGraph:
    """The graph of `evaluate` for one design point, by its lengths and by every number of the device.

    Degrees and the parameters of the engines are constants in it. A length of zero is a constant too.

    Args:
        variant: What was compiled.
        device: The machine.
        points: One design point.
        engine: As of `evaluate`.

    Raises:
        TraceError: The code of the estimate asks for what a graph cannot answer (our own bug).
    """

    def run(machine: Device, where: Points) -> dict[str, Array]:
        return results(evaluate(variant, machine, rates_of(machine), where, engine), where)

    return _traced(device, points, run)


def trace_steady(variant: Variant, device: Device, points: Points, engine: EngineOverheads = IDEAL) -> EstimateGraph:
    """The graph of `steady` for one design point, as `trace_estimate`; `batch` is the number of requests in flight.

    Raises:
        TraceError: As `trace_estimate`.
    """

    def run(machine: Device, where: Points) -> dict[str, Array]:
        state = steady(variant, machine, rates_of(machine), where, engine)
        return {field.name: getattr(state, field.name) for field in fields(state)}

    return _traced(device, points, run)


def _traced(device: Device, points: Points, run: Callable[[Device, Points], dict[str, Array]]) -> EstimateGraph:
    numbers = device_numbers(device)
    asked = {
        name: DeviceNumber(name=name, title=TITLES[name], unit="count", value=float(getattr(points, name)))
        for name in LENGTHS
        if float(getattr(points, name)) > 0.0
    }
    with Trace() as trace:
        machine = with_numbers(device, {name: trace.input(name) for name in numbers})
        where = replace(points, **{name: trace.input(name) for name in asked})
        graph = trace.graph(run(machine, where))
    return EstimateGraph(graph=graph, inputs={**asked, **numbers})


def results(evaluation: Evaluation, points: Points) -> dict[str, Array]:
    """Every number of an evaluation by its path, but for its rows, and energy and money by the output token."""
    tokens = points.batch * points.osl
    out = {name: getattr(evaluation, name) for name in _WHOLE}
    out |= {f"memory_bytes.{kind}": value for kind, value in evaluation.memory_bytes.items()}
    if evaluation.energy_j is not None:
        out |= {"energy_j": evaluation.energy_j, "energy_per_token_j": evaluation.energy_j / tokens}
    if evaluation.usd is not None:
        out |= {"usd": evaluation.usd, "usd_per_million_tokens": evaluation.usd * 1e6 / tokens}
    for phase, totals in (("prefill", evaluation.prefill), ("decode", evaluation.decode)):
        out |= {f"{phase}.{name}": getattr(totals, name) for name in _PHASE}
        out |= {f"{phase}.by_family.{name}": value for name, value in totals.by_family.items()}
        out |= {f"{phase}.by_bound.{name}": value for name, value in totals.by_bound.items()}
    return out


_WHOLE = (
    "ttft_s",
    "tpot_s",
    "latency_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "memory_total_bytes",
    "capacity_bytes",
)
_PHASE = (
    "seconds",
    "busy_seconds",
    "bubble_seconds",
    "host_seconds",
    "overlapped_seconds",
    "floor_seconds",
    "mfu",
    "mbu",
    "flops",
    "bytes",
    "network_bytes",
    "joules",
)
