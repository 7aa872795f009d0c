"""What must hold for every estimate: hypothesis looks for counterexamples."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambrel.cost.rates import rates_of
from gambrel.estimation.api import load, machine
from gambrel.estimation.evaluate import Evaluation, evaluate
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Structure, Variant, compile_variant
from gambrel.hardware.device import Device

DEVICES = ("a100-sxm-80gb", "h100-sxm", "b200-sxm", "mi300x", "tpu-v5e")
STRUCTURES = {
    "llama-3.1-8b": Structure(axes=("tp",)),
    "gpt3-175b": Structure(axes=("tp", "pp"), format="fp16"),
    "mixtral-8x7b": Structure(strategy="moe-ep", axes=("tp", "tp_ep")),
    "deepseek-v3": Structure(strategy="attention-dp-moe-ep", axes=("dp", "ep")),
}
TOLERANCE = 1.0 + 1e-9

cases = st.sampled_from([(model, device) for model in STRUCTURES for device in DEVICES])
batches = st.integers(1, 512)
lengths = st.integers(1, 16384)
outputs = st.integers(2, 4096)


described = lru_cache(machine)


def compiled(model: str) -> Variant:
    return compile_variant(load(model), STRUCTURES[model])


def degrees(model: str) -> dict[str, float]:
    return {
        "llama-3.1-8b": {"tp": 8.0},
        "gpt3-175b": {"tp": 8.0, "pp": 3.0, "microbatches": 1.0},
        "mixtral-8x7b": {"tp": 4.0, "ep": 4.0},
        "deepseek-v3": {"dp": 8.0, "ep": 8.0},
    }[model]


def run(model: str, device: Device, **lengths_: float) -> Evaluation:
    return evaluate(compiled(model), device, rates_of(device), Points.of(**degrees(model), **lengths_))


def improved(device: Device, what: str, factor: float) -> Device:
    match what:
        case "memory bandwidth":
            return replace(device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * factor)
        case "matrix peaks":
            return replace(device, matrix_flops_per_s={k: v * factor for k, v in device.matrix_flops_per_s.items()})
        case "vector peak":
            return replace(device, vector_flops_per_s=device.vector_flops_per_s * factor)
        case _:
            links = (replace(x, bandwidth_bytes_per_s=x.bandwidth_bytes_per_s * factor) for x in device.links)
            return replace(device, links=tuple(links))


@pytest.mark.parametrize("what", ["memory bandwidth", "matrix peaks", "vector peak", "link bandwidth"])
@settings(max_examples=50)
@given(case=cases, batch=batches, isl=lengths, osl=outputs, factor=st.floats(1.0, 8.0))
def test_a_better_device_is_never_slower(
    what: str, case: tuple[str, str], batch: int, isl: int, osl: int, factor: float
) -> None:
    model, name = case
    device = described(name)
    now = run(model, device, batch=batch, isl=isl, osl=osl)
    then = run(model, improved(device, what, factor), batch=batch, isl=isl, osl=osl)
    assert then.ttft_s <= now.ttft_s * TOLERANCE
    assert then.tpot_s <= now.tpot_s * TOLERANCE


@settings(max_examples=100)
@given(case=cases, batch=batches, isl=lengths, osl=outputs, more=st.integers(1, 300))
def test_more_work_is_never_faster(case: tuple[str, str], batch: int, isl: int, osl: int, more: int) -> None:
    model, name = case
    device = described(name)
    now = run(model, device, batch=batch, isl=isl, osl=osl)
    for longer in (
        {"batch": batch + more, "isl": isl, "osl": osl},
        {"batch": batch, "isl": isl + more, "osl": osl},
        {"batch": batch, "isl": isl, "osl": osl + more},
    ):
        then = run(model, device, **longer)
        assert then.latency_s >= now.latency_s / TOLERANCE, longer
        assert then.memory_total_bytes >= now.memory_total_bytes / TOLERANCE, longer


@settings(max_examples=100)
@given(case=cases, batch=batches, isl=lengths, osl=outputs)
def test_no_estimate_beats_physics(case: tuple[str, str], batch: int, isl: int, osl: int) -> None:
    model, name = case
    device = described(name)
    result = run(model, device, batch=batch, isl=isl, osl=osl)
    for phase in (result.prefill, result.decode):
        assert 0.0 <= phase.mfu <= TOLERANCE
        assert 0.0 <= phase.mbu <= TOLERANCE
        assert phase.floor_seconds <= phase.seconds * TOLERANCE
        assert phase.bubble_seconds >= -1e-9 * phase.seconds
        busy = float(phase.seconds - phase.bubble_seconds)
        assert sum(map(float, phase.by_family.values())) == pytest.approx(busy, rel=1e-9)
        assert sum(map(float, phase.by_bound.values())) == pytest.approx(busy, rel=1e-9)
    if result.energy_j is not None:
        power_w = np.asarray(device.power.tdp_w) * sum_of_devices(model)
        assert result.energy_j <= power_w * result.latency_s * TOLERANCE


def sum_of_devices(model: str) -> float:
    return float(Points.of(batch=1.0, isl=1.0, osl=2.0, **degrees(model)).devices)
