"""Continuous batching in its steady state: a fixed number of requests in flight, each replaced when it is done.

Per replica, `n` requests in flight, `N = osl - 1` decode steps of each, `n - 1` other requests:

    rate = (n - 1) / N                        prompts of others that start in one decode step
    D    = N step + (n - 1) D / (D + W) E     decode of one request: its own steps, and the prompts that fall into it
    tpot = D / N

`step` is one decode step of n sequences at the mean cached length, `W` the request's own prefill, `E` what one prompt
adds to the steps of the others. In the time D + W each of the n - 1 others starts once, so `(n - 1) D / (D + W)` of
these prompts fall into D; the equation is quadratic in D. With one request it gives `tpot = step`; with many,
`tpot = step + rate E`.

`E` depends on the engine. *Separate*: decoding stops for a prefill, `E = prefill` (Orca, OSDI 2022, and SGLang, which
runs a new batch of prompts before it decodes on unless `--enable-mixed-chunk` is set). *Mixed*: prompt tokens ride in a
decode step (Sarathi-Serve, OSDI 2024, section 4; vLLM V1 with chunked prefill, its default since 0.8; TensorRT-LLM's
in-flight batching), and everything but attention is done once for both, at least at the cost of the decode step:

    mixed = prefill attention + decode attention + max(decode rest, prefill rest (1 + n / T))    T prompt tokens a step
    E     = mixed - step, and never more than a separate prefill

Requests of *equal lengths* that start together also end together where prefills are separate: all prompts of a wave are
prefilled one after another, then all decode. A request then waits for the prompts behind it only, half of the others,

    D = N step + (n - 1) / 2 prefill,    first token after (n + 1) / 2 prefill

and the share of prompts in the time per token is half of that at mixed lengths. In mixed steps each prompt delays the
next by a step, so that equal lengths come apart by themselves.

Not counted: the first and the last wave of a measurement; requests that were preempted; the time that a batch of uneven
lengths loses against one of equal lengths.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.engines.libraries import with_libraries
from gambrel.cost.program import Rates
from gambrel.cost.vectorise import Array
from gambrel.estimation.evaluate import PhaseTotals, memory_by_kind, phase_totals
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Variant
from gambrel.hardware.device import Device
from gambrel.runtimes.profile import IDEAL, EngineOverheads

MEMORY_SHARE = 0.9
"""Of device memory, what an engine takes for weights, activations and caches: `gpu_memory_utilization` of vLLM and
`free_gpu_memory_fraction` of TensorRT-LLM are 0.9 by default (2025)."""

ATTENTION = "attention"
"""The family whose work is not shared between the prompt and the decoding sequences of one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """What the devices take for the pieces of a continuous batch, without the engine's host time.

    Attributes:
        step_s: One decode step of all running sequences.
        step_rest_s: Of it, everything but attention.
        step_launches: Kernels of a decode step on one device.
        step_floor_s: Decode step at the plain roofline.
        prefill_s: Work of one prompt on one stage: what it takes from the steps of others.
        prefill_rest_s: Of it, everything but attention.
        prefill_launches: Kernels of one prefill on one device.
        prefill_floor_s: Work of one prompt at the plain roofline.
        first_s: Prefill of one prompt until its first token, through all stages.
    """

    step_s: Array
    step_rest_s: Array
    step_launches: Array
    step_floor_s: Array
    prefill_s: Array
    prefill_rest_s: Array
    prefill_launches: Array
    prefill_floor_s: Array
    first_s: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """The steady state at every design point.

    Attributes:
        tpot_s: Mean time per output token after the first.
        ttft_s: Time to first token, with the wait for memory where not all requests fit.
        latency_s: `ttft + (osl - 1) tpot`.
        tokens_per_s: Output tokens of all replicas.
        tokens_per_s_per_device: The same over all devices.
        step_s: Decode step without prompts, host time included.
        prefill_per_token_s: Part of `tpot_s` that the prompts of other requests add.
        host_s: Part of `tpot_s` in which the devices wait for the engine on the host.
        running: Sequences of one replica that are in flight; fewer than asked where memory or the engine's tokens of a
            step allow no more.
        fits: Whether weights and one sequence fit.
        floor_tpot_s: The same from the plain roofline of all kernels, prompts in steps of their own, without host time.
    """

    tpot_s: Array
    ttft_s: Array
    latency_s: Array
    tokens_per_s: Array
    tokens_per_s_per_device: Array
    step_s: Array
    prefill_per_token_s: Array
    host_s: Array
    running: Array
    fits: NDArray[np.bool_]
    floor_tpot_s: Array


def steady(
    variant: Variant,
    device: Device,
    rates: Rates,
    points: Points,
    engine: EngineOverheads = IDEAL,
    *,
    equal_lengths: NDArray[np.bool_] | bool = False,
) -> Steady:
    """The steady state of all design points of a variant.

    Args:
        variant: What was compiled; its axes must cover the degrees above one.
        device: The machine.
        rates: Which rate the device uses for a format.
        points: The design points; `batch` is the number of requests in flight over all replicas.
        engine: What the software around the kernels adds, and how it batches.
        equal_lengths: Whether all requests have the same lengths and started together, as in many benchmarks.
    """
    most = sequences_in_memory(variant, device, points, engine)
    running = running_sequences(points, most, engine)
    times = step_times(variant, device, rates, replace(points, batch=running * points.dp), engine)
    return combine(times, points, running, np.asarray(most >= 1.0), engine, equal_lengths=equal_lengths)


def sequences_in_memory(variant: Variant, device: Device, points: Points, engine: EngineOverheads = IDEAL) -> Array:
    """Sequences of one replica whose caches fit beside weights, activations and buffers; below one: none.

    Caches are paged: a sequence holds its mean length, `prefix + isl + osl / 2`.
    """
    held = memory_by_kind(variant, replace(points, batch=points.dp * points.pp, osl=points.osl / 2.0), engine)
    fixed = sum((size for kind, size in held.items() if kind != "kv_cache"), np.zeros(()))
    free = MEMORY_SHARE * np.asarray(device.memory_bytes) - fixed
    each = held["kv_cache"] / points.pp
    return np.where(each > 0.0, np.floor(free / np.maximum(each, 1.0)), np.where(free >= 0.0, np.inf, 0.0))


def running_sequences(points: Points, most: Array, engine: EngineOverheads = IDEAL) -> Array:
    """Sequences of one replica in flight: what is asked, what fits, and what mixed steps can feed, at least one.

    `rate isl <= step tokens`: a step takes no more prompt tokens, so that more requests only wait.
    """
    asked = np.ceil(points.batch / points.dp)
    fed = np.floor(engine.step_tokens / points.isl * _steps(points)) if engine.mixes_prefill else np.inf
    return np.maximum(np.minimum(np.minimum(asked, most), fed + 1.0), 1.0)


def step_times(
    variant: Variant, device: Device, rates: Rates, points: Points, engine: EngineOverheads = IDEAL
) -> StepTimes:
    """Device times of a decode step of `points.batch` sequences and of the prefill of one prompt on each replica.

    Kernels are those of the engine's libraries; its host times are left out.

    Prompts are prefilled in one piece: a chunk of thousands of tokens reads the weights behind its arithmetic.
    """
    device = with_libraries(device, engine.libraries)
    decode = phase_totals(variant, device, rates, points, "decode")
    one = replace(points, batch=points.dp, prefill_microbatches=np.ones(()), sub_batches=np.ones(()))
    prefill = phase_totals(variant, device, rates, one, "prefill")
    busy = sum(prefill.by_family.values(), np.zeros(()))
    return StepTimes(
        step_s=decode.seconds,
        step_rest_s=decode.seconds * (1.0 - _attention_share(decode)),
        step_launches=_launches(decode),
        step_floor_s=decode.floor_seconds,
        prefill_s=busy,
        prefill_rest_s=busy * (1.0 - _attention_share(prefill)),
        prefill_launches=_launches(prefill),
        prefill_floor_s=prefill.floor_seconds,
        first_s=prefill.seconds,
    )


def combine(
    times: StepTimes,
    points: Points,
    running: Array,
    fits: NDArray[np.bool_],
    engine: EngineOverheads = IDEAL,
    *,
    equal_lengths: NDArray[np.bool_] | bool = False,
) -> Steady:
    """The steady state of `running` sequences of each replica from the times of its pieces."""
    steps = _steps(points)
    step = np.maximum(times.step_s, times.step_launches * engine.decode_launch_s)
    step = step + engine.step_overhead_s + engine.sequence_overhead_s * running
    launching = times.prefill_launches * engine.prefill_launch_s
    own = np.maximum(times.first_s, launching) + engine.prefill_overhead_s
    prompts = running - 1.0
    added = np.maximum(_added(times, points, running, engine), prompts * launching)
    added = added + prompts * engine.prefill_overhead_s
    alone = steps * step
    waves = np.logical_and(equal_lengths, not engine.mixes_prefill)
    decode = np.where(waves, alone + added / 2.0, _decode_s(alone, added, own))
    own = np.where(waves, own + added / 2.0, own)
    tpot = decode / steps
    tokens = running * points.dp * points.osl / (own + decode)
    latency = points.batch * points.osl / tokens
    floor = times.step_floor_s + (running - 1.0) / steps * times.prefill_floor_s
    return Steady(
        tpot_s=tpot,
        ttft_s=latency - decode,
        latency_s=latency,
        tokens_per_s=tokens,
        tokens_per_s_per_device=tokens / points.devices,
        step_s=step,
        prefill_per_token_s=tpot - step,
        host_s=step - times.step_s,
        running=running,
        fits=fits,
        floor_tpot_s=floor,
    )


def _added(times: StepTimes, points: Points, running: Array, engine: EngineOverheads) -> Array:
    """Device seconds that the prompts of all others add to N decode steps."""
    prompts = running - 1.0
    separate = prompts * times.prefill_s
    if not engine.mixes_prefill:
        return separate
    steps = _steps(points)
    passes = np.ceil(points.isl / np.maximum(engine.step_tokens - running, 1.0))
    mixed = np.minimum(prompts * passes, steps)
    rest = prompts * times.prefill_rest_s + mixed * running * times.prefill_rest_s / points.isl
    shared = np.maximum(rest - mixed * times.step_rest_s, 0.0)
    return np.minimum(prompts * (times.prefill_s - times.prefill_rest_s) + shared, separate)


def _decode_s(alone: Array, others: Array, own: Array) -> Array:
    """D of `D = alone + D / (D + own) others`."""
    half = (alone + others - own) / 2.0
    return half + np.sqrt(half**2 + alone * own)


def _steps(points: Points) -> Array:
    return np.maximum(points.osl - 1.0, 1.0)


def _attention_share(phase: PhaseTotals) -> Array:
    busy = sum(phase.by_family.values(), np.zeros(()))
    return phase.by_family.get(ATTENTION, np.zeros(())) / busy


def _launches(phase: PhaseTotals) -> Array:
    counts = (np.where(p.seconds > 0.0, w, 0.0) for p, w in zip(phase.rows, phase.weights, strict=True))
    return sum(counts, np.zeros(()))
