"""Questions whose estimates are traced in tests."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gambrel.codegen.estimate import EstimateGraph, results, trace_estimate
from gambrel.cost.numbers import with_numbers
from gambrel.cost.rates import rates_of
from gambrel.estimation.api import load, machine
from gambrel.estimation.evaluate import evaluate
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import resolve
from gambrel.estimation.variant import Variant, compile_variant
from gambrel.hardware.device import Device
from gambrel.runtimes import EngineOverheads, load_engine

CASES = {
    "dense": ("llama-3.1-70b", "h200-sxm", {"tp": 8}, ()),
    "stages": ("gpt3-175b", "a100-sxm-80gb", {"tp": 8, "pp": 3, "microbatches": 2}, ()),
    "experts over replicas": ("deepseek-v3", "h200-sxm", {"dp": 16, "ep": 16}, ()),
    "experts in a group": ("mixtral-8x7b", "b200-sxm", {"tp": 4, "ep": 4, "strategy": "moe-ep"}, ()),
    "recurrence": ("qwen3-next-80b-a3b", "mi300x", {"tp": 2}, ()),
    "windows, another engine": ("gemma-3-27b", "tpu-v5e", {"tp": 4}, ()),
    "context": ("llama-3.1-8b", "h100-sxm", {"cp": 4, "kv": "fp8"}, ()),
    "eager host": ("llama-3.1-8b", "h100-sxm", {"tp": 2, "dp": 2, "engine": "vllm-2023-eager"}, ()),
    "chunks": ("llama-3.1-8b", "l40s", {"tp": 2, "prefill_chunk": 512}, ()),
    "halves": ("mixtral-8x7b", "h200-sxm", {"tp": 4, "sub_batches": 2}, ()),
    "power cap": ("llama-3.1-8b", "h200-sxm", {}, ("power.cap=500 W",)),
}
WORKLOAD = Workload(batch=64, isl=3000, osl=257, prefix=100)


class Case:
    """A question, compiled and traced."""

    def __init__(self, name: str) -> None:
        model, device, plan, overrides = CASES[name]
        architecture = load(model)
        self.device: Device = machine(device, overrides)
        resolved = resolve(architecture, self.device, WORKLOAD, Plan(**plan), None)
        self.variant: Variant = compile_variant(architecture, resolved.structure)
        self.points: Points = resolved.points(WORKLOAD)
        self.engine: EngineOverheads = load_engine(resolved.plan.engine)
        self.traced: EstimateGraph = trace_estimate(self.variant, self.device, self.points, self.engine)

    def evaluate(self, **changes: np.ndarray | float) -> dict[str, np.ndarray]:
        """What `evaluate` gives with other inputs, numbers or arrays."""
        lengths = {name: value for name, value in changes.items() if hasattr(self.points, name)}
        numbers = {name: value for name, value in changes.items() if name not in lengths}
        points = replace(self.points, **{name: np.asarray(value) for name, value in lengths.items()})
        device = with_numbers(self.device, numbers)
        return results(evaluate(self.variant, device, rates_of(device), points, self.engine), points)


case = lru_cache(Case)


def many_points(traced: EstimateGraph, count: int) -> dict[str, np.ndarray]:
    """The point that was asked, and others: lengths of any size, numbers of the device within a factor of 8.

    Powers stay: a device that idles above its limit prices nothing.
    """
    rng = np.random.default_rng(7)
    spread = {name: 1.0 if name.startswith("power.") else 8.0 for name in traced.point}
    out = {name: value * spread[name] ** rng.uniform(-1.0, 1.0, count) for name, value in traced.point.items()}
    out |= {name: rng.integers(2, 6000, count).astype(float) for name in ("batch", "isl", "osl", "prefix")}
    return {name: np.insert(values, 0, traced.point[name]) for name, values in out.items()}
