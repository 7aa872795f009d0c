"""CPU time (user + system) to compile a model for a new strategy, and to evaluate a million design points of it.

Usage: OMP_NUM_THREADS=1 python -m benchmarks.speed [--on h100-sxm] [--points 1000000] [--runs 5]

Everything is imported before the clock starts; compiled variants are not taken from the cache.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.estimation.api import load, machine
from gambrel.estimation.metrics import metrics
from gambrel.estimation.points import Points
from gambrel.estimation.variant import Structure, Variant, compile_variant
from gambrel.hardware.device import Device

STRUCTURES = {
    "llama-3.1-70b": Structure(axes=("tp",)),
    "deepseek-v3": Structure(strategy="attention-dp-moe-ep", axes=("dp", "ep"), weights="fp8_block"),
}
"""Models to compile, and the structure of each."""

COMPILE_LIMIT_S = 0.05
EVALUATE_LIMIT_S = 2.0
"""For a million points on one core."""

TENSOR_PARALLEL = np.array([1.0, 2.0, 4.0, 8.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """CPU seconds of several runs of one thing."""

    name: str
    seconds: tuple[float, ...]
    points: int = 0

    @property
    def median_s(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def cpu_seconds(work: Callable[[], object], runs: int) -> tuple[float, ...]:
    """CPU time of each of several runs."""
    marks = [time.process_time()]
    for _ in range(runs):
        work()
        marks.append(time.process_time())
    return tuple(late - early for early, late in pairwise(marks))


def compile_timing(name: str, structure: Structure, runs: int) -> Timing:
    """Compiling a variant: lowering, passes, verification, cost and memory tables."""
    architecture = load(name)

    def work() -> None:
        compile_variant.cache_clear()
        compile_variant(architecture, structure)

    return Timing(
        name=f"compile {name}, {structure.strategy} over {'+'.join(structure.axes)}", seconds=cpu_seconds(work, runs)
    )


def steps(low: float, high: float, count: int) -> Array:
    """Whole numbers from low to high, equally spaced as far as rounding allows."""
    return np.round(np.linspace(low, high, count))


def question_sets(points: int) -> Mapping[str, Points]:
    """About `points` design points: two grids by broadcasting, and unstructured columns."""
    rest = points // len(TENSOR_PARALLEL)
    edge, side = max(round(rest ** (1 / 3)), 2), max(round(rest**0.5), 2)
    rng = np.random.default_rng(0)
    return {
        "grid batch x isl x osl x tp": Points.of(
            batch=steps(1, 256, edge)[:, None, None, None],
            isl=steps(128, 32768, edge)[:, None, None],
            osl=steps(2, 4096, max(rest // edge**2, 1))[:, None],
            tp=TENSOR_PARALLEL,
        ),
        "grid batch x isl x tp": Points.of(
            batch=steps(1, 1024, side)[:, None, None],
            isl=steps(128, 131072, side)[:, None],
            osl=128.0,
            tp=TENSOR_PARALLEL,
        ),
        "random columns batch, isl, osl, tp": Points.of(
            batch=rng.integers(1, 257, points).astype(np.float64),
            isl=rng.integers(128, 32769, points).astype(np.float64),
            osl=rng.integers(2, 4097, points).astype(np.float64),
            tp=rng.choice(TENSOR_PARALLEL, points),
        ),
    }


def evaluate_timing(variant: Variant, device: Device, name: str, points: Points, runs: int) -> Timing:
    """Evaluating one set of points: both phases, memory, energy and price."""
    size = np.broadcast(points.batch, points.isl, points.osl, points.tp).size
    rates = rates_of(device)
    return Timing(
        name=f"evaluate {name}",
        seconds=cpu_seconds(lambda: metrics(variant, device, rates, points), runs),
        points=size,
    )


def line(timing: Timing, limit_s: float) -> str:
    """One row of the table; the limit of an evaluation is for a million points."""
    limit = limit_s * timing.points / 1e6 if timing.points else limit_s
    rate = f"{timing.points / timing.median_s / 1e6:8.2f} M/s" if timing.points else " " * 12
    figures = (timing.median_s, min(timing.seconds), max(timing.seconds), limit)
    return (
        " ".join(f"{1e3 * figure:>7.0f} ms" for figure in figures)
        + f" {timing.median_s / limit:>6.2f} {rate}  {timing.name}"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", default="h100-sxm", help="hardware profile")
    parser.add_argument("--points", type=int, default=1_000_000, help="design points of each evaluation")
    parser.add_argument("--runs", type=int, default=5, help="runs of each")
    args = parser.parse_args()
    device = machine(args.on)
    print(f"{'median':>10} {'least':>10} {'most':>10} {'target':>10} {'ratio':>6} {'points/s':>12}   CPU time")
    for name, structure in STRUCTURES.items():
        print(line(compile_timing(name, structure, args.runs), COMPILE_LIMIT_S))
    variant = compile_variant(load("llama-3.1-70b"), STRUCTURES["llama-3.1-70b"])
    for name, points in question_sets(args.points).items():
        print(line(evaluate_timing(variant, device, name, points, args.runs), EVALUATE_LIMIT_S), flush=True)
    print(f"\npeak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
