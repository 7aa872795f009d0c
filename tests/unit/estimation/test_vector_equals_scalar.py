"""A grid of design points in one call gives what each point gives on its own."""

from dataclasses import fields, replace

import numpy as np
import pytest

from gambrel.cost.rates import rates_of
from gambrel.estimation.api import load, machine
from gambrel.estimation.evaluate import Evaluation, PhaseTotals, evaluate
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Structure, compile_variant

RELATIVE = 1e-9

QUANTITIES = (
    *("seconds", "alone_seconds", "busy_seconds", "bubble_seconds", "host_seconds", "overlapped_seconds"),
    *("floor_seconds", "mfu", "mbu", "flops", "bytes", "network_bytes", "joules"),
)

CASES = {
    "dense over tp": (
        "llama-3.1-70b",
        "h100-sxm",
        Structure(axes=("tp",)),
        {"batch": [1, 7, 64], "isl": [1, 1000, 8192], "osl": [1, 2, 257], "tp": [1, 4, 8]},
    ),
    "pipeline": (
        "gpt3-175b",
        "a100-sxm-80gb",
        Structure(axes=("tp", "pp"), format="fp16"),
        {"batch": [4, 33], "isl": [128, 2048], "osl": [2, 100], "tp": [1, 8], "pp": [1, 3, 16], "microbatches": [1, 4]},
    ),
    "experts over replicas": (
        "deepseek-v3",
        "h200-sxm",
        Structure(strategy="attention-dp-moe-ep", axes=("dp", "ep"), weights="fp8_block", activations="fp8"),
        {"batch": [32, 1024], "isl": [1, 4096], "osl": [2, 1000], "dp": [8], "ep": [8]},
    ),
    "alternating windows, roofline engine": (
        "gemma-3-27b",
        "tpu-v5e",
        Structure(axes=("tp",)),
        {"batch": [1, 16], "isl": [100, 1500, 9000], "osl": [2, 500], "prefix": [0, 700], "tp": [1, 2]},
    ),
}


def numbers(result: Evaluation) -> dict[str, np.ndarray]:
    """Everything numeric in an evaluation, by name."""
    out: dict[str, np.ndarray] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, PhaseTotals):
            for name in QUANTITIES:
                out[f"{field.name}.{name}"] = np.asarray(getattr(value, name))
            for kind in ("by_family", "by_bound"):
                out |= {f"{field.name}.{kind}.{name}": item for name, item in getattr(value, kind).items()}
        elif isinstance(value, dict):
            out |= {f"{field.name}.{name}": item for name, item in value.items()}
        elif value is not None:
            out[field.name] = np.asarray(value)
    return out


@pytest.mark.parametrize("case", CASES)
def test_grid_equals_points(case: str) -> None:
    model, profile, structure, lists = CASES[case]
    device = machine(profile)
    variant = compile_variant(load(model), structure)
    grid = np.meshgrid(*(np.array(values, dtype=np.float64) for values in lists.values()), indexing="ij", sparse=True)
    together = numbers(evaluate(variant, device, rates_of(device), Points.of(**dict(zip(lists, grid, strict=True)))))
    shape = tuple(len(values) for values in lists.values())
    picked = np.random.default_rng(0).permutation(int(np.prod(shape)))[:25]
    for flat in picked:
        index = np.unravel_index(flat, shape)
        point = {name: float(values[i]) for (name, values), i in zip(lists.items(), index, strict=True)}
        alone = numbers(evaluate(variant, device, rates_of(device), Points.of(**point)))
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            whole = np.broadcast_to(together[name], shape)[index]
            np.testing.assert_allclose(whole, value, rtol=RELATIVE, atol=0.0, err_msg=f"{name} at {point}")


def test_columns_equal_a_grid() -> None:
    device = machine("h100-sxm")
    variant = compile_variant(load("llama-3.1-70b"), Structure(axes=("tp",)))
    rng = np.random.default_rng(1)
    batch, isl, osl = (rng.integers(1, high, 40).astype(np.float64) for high in (256, 8192, 1024))
    columns = evaluate(variant, device, rates_of(device), Points.of(batch=batch, isl=isl, osl=osl, tp=8.0))
    for i in range(0, 40, 8):
        alone = evaluate(variant, device, rates_of(device), Points.of(batch=batch[i], isl=isl[i], osl=osl[i], tp=8.0))
        np.testing.assert_allclose(columns.latency_s[i], alone.latency_s, rtol=RELATIVE)


def test_a_what_if_on_the_device_is_one_more_column() -> None:
    device = machine("h100-sxm")
    variant = compile_variant(load("llama-3.1-8b"), Structure())
    factors = np.array([0.5, 1.0, 2.0])
    bandwidth = np.asarray(device.memory_bandwidth_bytes_per_s)
    point = Points.of(batch=8.0, isl=512.0, osl=64.0)
    several = replace(device, memory_bandwidth_bytes_per_s=bandwidth * factors)
    together = evaluate(variant, several, rates_of(device), point)
    for factor, latency in zip(factors, together.latency_s, strict=True):
        one = replace(device, memory_bandwidth_bytes_per_s=bandwidth * factor)
        alone = evaluate(variant, one, rates_of(device), point)
        np.testing.assert_allclose(latency, alone.latency_s, rtol=RELATIVE)
