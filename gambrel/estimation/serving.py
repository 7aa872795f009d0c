"""The Python API of continuous batching: one question, one answer."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.estimation.api import Machine, Model, ask
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.steady import MEMORY_SHARE, Steady, steady
from gambrel.runtimes import EngineOverheads


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """A server that keeps a fixed number of requests in flight.

    Attributes:
        model: Its name.
        device: For people.
        devices: How many.
        concurrency: Requests in flight over all replicas.
        workload: Lengths; its batch is the concurrency.
        plan: How the model is split, with every default filled in.
        tpot_s: Mean time per output token after the first.
        ttft_s: Mean time to first token, with the wait for memory where not all requests fit.
        latency_s: Of a request.
        tokens_per_s: Output tokens of all replicas.
        tokens_per_s_per_device: The same over all devices.
        requests_per_s: Requests that are finished.
        step_s: A decode step without prompts, host time included.
        prefill_per_token_s: Part of `tpot_s` that the prompts of other requests add.
        host_s: Part of a step in which the devices wait for the engine on the host.
        running: Sequences of one replica that run at once; the others wait.
        fits: Whether weights and one sequence fit in memory.
        assumptions: Choices that nobody made, in words.
    """

    model: str
    device: str
    devices: int
    concurrency: int
    workload: Workload
    plan: Plan
    tpot_s: float
    ttft_s: float
    latency_s: float
    tokens_per_s: float
    tokens_per_s_per_device: float
    requests_per_s: float
    step_s: float
    prefill_per_token_s: float
    host_s: float
    running: int
    fits: bool
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values only; units are in the names."""
        return asdict(self)


def steady_state(  # noqa: PLR0913  (an entry point: all but the first two are by keyword and optional)
    model: Model,
    on: Machine,
    *,
    workload: Workload | None = None,
    plan: Plan | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    equal_lengths: bool = False,
) -> SteadyState:
    """How a server behaves that replaces each finished request by a new one.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profile name or path, or a Device.
        workload: Lengths, and as its batch the requests in flight over all replicas.
        plan: How the model is split and stored; its engine decides how prompts and decoding share steps.
        devices: Devices to use; None: what the plan's degrees take.
        overrides: What-ifs on the profile.
        equal_lengths: Whether all requests have the same lengths and started together, as in many benchmarks.

    Raises:
        GambrelError: As `estimate`.
    """
    q = ask(model, on, plan=plan, workload=workload, devices=devices, overrides=overrides)
    points = q.points
    found = steady(q.variant, q.device, rates_of(q.device), points, q.engine, equal_lengths=equal_lengths)
    tokens = _scalar(found.tokens_per_s)
    return SteadyState(
        model=q.architecture.name,
        device=q.device.title,
        devices=int(points.devices),
        concurrency=q.workload.batch,
        workload=q.workload,
        plan=q.resolved.plan,
        tpot_s=_scalar(found.tpot_s),
        ttft_s=_scalar(found.ttft_s),
        latency_s=_scalar(found.latency_s),
        tokens_per_s=tokens,
        tokens_per_s_per_device=_scalar(found.tokens_per_s_per_device),
        requests_per_s=tokens / q.workload.osl,
        step_s=_scalar(found.step_s),
        prefill_per_token_s=_scalar(found.prefill_per_token_s),
        host_s=_scalar(found.host_s),
        running=int(found.running),
        fits=bool(found.fits),
        assumptions=(*q.resolved.assumptions, *_assumptions(q.engine, found, points.batch / points.dp, equal_lengths)),
    )


def _assumptions(engine: EngineOverheads, found: Steady, asked: Array, equal_lengths: bool) -> tuple[str, ...]:
    mixed = "prompts ride in decode steps" if engine.mixes_prefill else "decoding stops for prompts"
    lengths = "in waves of equal lengths" if equal_lengths else "finished requests are replaced one by one"
    notes = (
        f"engine {engine.title}: {mixed}, at most {engine.step_tokens:g} tokens a step; {lengths}",
        f"{MEMORY_SHARE:.0%} of device memory for weights, activations and caches; no prompt is found in a cache",
    )
    if _scalar(found.running) < np.ceil(_scalar(asked)):
        return (*notes, f"{_scalar(found.running):g} of {np.ceil(_scalar(asked)):g} requests of a replica run at once")
    return notes


def _scalar(value: Array) -> float:
    return float(value)
