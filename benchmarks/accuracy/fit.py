"""Fits the engines' parameters on half of the shape sites and prints them in the units of a profile.

Usage: python -m benchmarks.accuracy.fit --device H100-SXM [--device H200-SXM] [--family gemm] [--only launch]

Maximum a posteriori: the sum of soft-L1 of ln(T/y)/0.1 plus ((ln theta - ln theta_0)/sigma)^2, theta_0 the engine's
defaults, from the better of several random starts out of the prior. Several devices give one joint set.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.accuracy.kernels import data_folder, load_device, predict
from benchmarks.accuracy.tables import SERVING, Case, cases
from gambrel.cost.engines import parameters
from gambrel.cost.kernel import Attention, Kernel
from gambrel.hardware.device import Device

NOISE = 0.1
"""Spread of the same kernel measured through different frameworks, as a standard deviation of ln."""

STARTS = 48
"""Random draws from the prior; the best one and the prior's centre are polished."""

SIGMA = {
    "compute_efficiency": 0.15,
    "memory_efficiency": 0.08,
    "in_network_efficiency": 0.25,
    "ring_efficiency": 0.25,
    "sustained_share": 0.1,
    "overlap_norm": 0.4,
    "memory_ramp": 0.4,
    "low_latency_hop": 1.2,
    "ring_hop": 1.2,
    "load_bytes_per_clock_per_unit": 0.4,
    "wave_hardness": 1.0,
    "wave_overhead": 0.7,
}
"""Prior spread of ln of each parameter; 0.6 where not named."""

CEILING = {
    "compute_efficiency": 1.0,
    "memory_efficiency": 0.95,
    "wave_hardness": 1.0,
    "sustained_share": 1.0,
    "low_latency_efficiency": 1.0,
    "ring_efficiency": 1.0,
    "in_network_efficiency": 1.0,
    "cache_share": 1.0,
}
"""Shares cannot exceed one; refresh and row switches keep a memory below 95 %."""

HOP = 0.7e-6
"""Prior of a hop, where the default is the link's own latency."""

UNMOVED = 0.01
"""A parameter this near to its prior, in ln, is one that the data say nothing about: it is not printed."""

FLOOR = {"overlap_norm": 1.0}
"""Times add at worst."""

FIXED = {
    "gemm": ("sustained_after",),
    "memory_bound": ("long_row",),
    "attention_prefill": ("memory_efficiency",),
}
"""What the data do not place: thresholds, and bandwidth where matrix work hides it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One set of parameters and the rows it is fitted on.

    Attributes:
        family: Key under `parameters`; `{link}` is the name of the innermost link.
        table: Measured table.
        base: Key under `DEFAULTS`.
        op: What a case's operation starts with, one of several.
        dtypes: Formats and libraries of the cases; all where empty.
        groups: Least and greatest number of query heads per key head.
    """

    family: str
    table: str
    base: str
    op: str | tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    groups: tuple[float, float] | None = None


BF16_ATTENTION = tuple(f"bfloat16 kv {cache} {library}" for cache in ("bfloat16", "fp8") for library in SERVING)
"""Attention in bf16 by its fused kernels; Triton fallbacks are scored, not fitted."""

GRAPH = ("vllm_graph", "sglang_graph", "trtllm")
"""All-reduce kernels of serving engines as they run inside a captured graph."""

TARGETS = (
    Target(
        family="gemm", table="gemm", base="gemm", op="gemm", dtypes=tuple(f"bfloat16 {library}" for library in SERVING)
    ),
    Target(family="gemm_fp8", table="gemm", base="gemm", op="gemm", dtypes=("fp8 trtllm", "fp8 sglang")),
    Target(family="gemm_nvfp4", table="gemm", base="gemm", op="gemm", dtypes=("nvfp4 trtllm", "nvfp4 vllm")),
    Target(family="gemm_int8", table="gemm", base="gemm", op="gemm", dtypes=("sq trtllm",)),
    Target(
        family="attention_prefill",
        table="attention_prefill",
        base="attention_prefill",
        op="attention_prefill",
        dtypes=BF16_ATTENTION,
    ),
    Target(
        family="attention_prefill_fp8",
        table="attention_prefill",
        base="attention_prefill",
        op="attention_prefill",
        dtypes=tuple(f"fp8 kv fp8 {library}" for library in SERVING),
    ),
    Target(
        family="attention_decode_mha",
        table="attention_decode",
        base="attention_decode",
        op="attention_decode",
        dtypes=BF16_ATTENTION,
        groups=(0.0, 1.0),
    ),
    Target(
        family="attention_decode_gqa",
        table="attention_decode",
        base="attention_decode",
        op="attention_decode",
        dtypes=BF16_ATTENTION,
        groups=(1.01, 32.0),
    ),
    Target(
        family="attention_decode_mqa",
        table="attention_decode",
        base="attention_decode",
        op="attention_decode",
        dtypes=BF16_ATTENTION,
        groups=(32.01, 1e9),
    ),
    Target(family="memory_bound", table="memory_bound", base="memory_bound", op="memory_bound mlp_act"),
    Target(family="memory_bound_norm", table="memory_bound", base="memory_bound", op="memory_bound input_layernorm"),
    Target(family="grouped_gemm", table="moe", base="grouped_gemm", op="moe", dtypes=("bfloat16 trtllm",)),
    Target(
        family="grouped_gemm_fp8", table="moe", base="grouped_gemm", op="moe", dtypes=("fp8 trtllm", "fp8_block trtllm")
    ),
    Target(family="grouped_gemm_nvfp4", table="moe", base="grouped_gemm", op="moe", dtypes=("nvfp4 trtllm",)),
    Target(
        family="collective_{link}",
        table="collective",
        base="collective",
        op=("collective all_gather", "collective reduce_scatter", "collective all_to_all"),
        dtypes=("nccl",),
    ),
    Target(
        family="collective_{link}_all_reduce",
        table="collective",
        base="collective",
        op="collective all_reduce",
        dtypes=GRAPH,
    ),
)
"""What is fitted."""


def subset(case: Case, rows: np.ndarray) -> Case:
    """The case with some of its rows."""

    def cut(kernel: Kernel) -> Kernel:
        arrays = {f.name: getattr(kernel, f.name) for f in fields(kernel)}
        return replace(kernel, **{name: x[rows] for name, x in arrays.items() if isinstance(x, np.ndarray)})

    kernels = tuple(map(cut, case.kernels))
    return replace(case, kernels=kernels, seconds=case.seconds[rows], held_out=case.held_out[rows])


def log_errors(pairs: Sequence[tuple[Device, Case]], family: str, values: Mapping[str, float]) -> np.ndarray:
    """ln(estimate/measurement) of every row with some parameters replaced."""
    parts = []
    for device, case in pairs:
        merged = {**device.parameters, family: {**device.parameters.get(family, {}), **values}}
        parts.append(np.log(predict(case, replace(device, parameters=merged)) / case.seconds))
    return np.concatenate(parts)


def fit(pairs: Sequence[tuple[Device, Case]], family: str, prior: Mapping[str, float]) -> dict[str, float]:
    """The parameters of `family` of greatest posterior probability."""
    names = list(prior)
    centre = np.log([prior[name] for name in names])
    spread = np.array([SIGMA.get(name, 0.6) for name in names])

    def residual(z: np.ndarray) -> np.ndarray:
        values = dict(zip(names, np.exp(z).tolist(), strict=True))
        return np.concatenate([log_errors(pairs, family, values) / NOISE, (z - centre) / spread])

    def cost(z: np.ndarray) -> float:
        return float(np.sum(np.sqrt(1.0 + (residual(z) / 1.5) ** 2) - 1.0))

    rng = np.random.default_rng(0)
    low = np.maximum(centre - 6.0 * spread, np.log([FLOOR.get(name, 1e-300) for name in names]))
    high = np.minimum(centre + 6.0 * spread, np.log([CEILING.get(name, np.inf) for name in names]))
    bounds = (low, high)
    start = np.clip(centre, low + 1e-6, high - 1e-6)
    draws = [np.clip(centre + rng.normal(size=len(names)) * spread, low + 1e-6, high - 1e-6) for _ in range(STARTS)]
    runs = [
        least_squares(residual, z, bounds=bounds, loss="soft_l1", f_scale=1.5, diff_step=2e-2, max_nfev=40)
        for z in (min(draws, key=cost), start)
    ]
    best = min(runs, key=lambda run: run.cost).x
    return dict(zip(names, np.exp(best).tolist(), strict=True))


def rows_of(target: Target, case: Case) -> np.ndarray | None:
    """Which rows of a case a target is fitted on; None where the case is another's."""
    if not case.op.startswith(target.op) or (target.dtypes and case.dtype not in target.dtypes):
        return None
    if target.groups is None:
        return np.ones(len(case.seconds), dtype=bool)
    kernel = case.kernels[0]
    if not isinstance(kernel, Attention):
        return None
    group = np.asarray(kernel.heads / kernel.kv_heads)
    return (group >= target.groups[0]) & (group <= target.groups[1])


def as_text(name: str, value: float) -> str:
    """A parameter in the unit that a profile gives it in."""
    if name.endswith("_per_clock_per_unit") and name.partition("_")[0] != "exponentials":
        return f"{value:.3g} B/clk"
    if name.endswith("_bytes_per_s"):
        return f"{value / 1e9:.3g} GB/s"
    if name.endswith(("launch", "overhead", "ramp", "latency", "_time", "_hop", "_after")):
        return f"{value * 1e6:.3g} us"
    return f"{value:.3g}"


def prior_of(target: Target, family: str, device: Device, only: Sequence[str]) -> dict[str, float]:
    """Where the fit starts: the engine's defaults, or what the device has of the parameters in `only`."""
    default = parameters.DEFAULTS[target.base]
    if only:
        stem = "collective_" + device.links[0].name if target.base == "collective" else target.base
        default = parameters.resolve(default, device, stem, family.removeprefix(stem).removeprefix("_"))
    prior = {field.name: float(getattr(default, field.name)) for field in fields(default)}
    prior = {name: HOP if np.isnan(value) else value for name, value in prior.items()}
    if "sharing" in prior and family.startswith("collective_pcie"):
        prior["sharing"] = 1.0
    fixed = FIXED.get(target.base, ())
    return {name: x for name, x in prior.items() if x > 0 and name not in fixed and (not only or name in only)}


def run(target: Target, names: Sequence[str], folder: Path, limit: int, only: Sequence[str] = ()) -> None:
    """Fits one target on some devices and prints it."""
    fitted, scored, links = [], [], set()
    for name in names:
        device = load_device(name)
        links.add(device.links[0].name if device.links else "none")
        for case in cases(folder, target.table, limit=limit, device=name):
            rows = rows_of(target, case)
            if rows is None or not device.matrix_flops_per_s:
                continue
            fitted.append((device, subset(case, rows & ~case.held_out)))
            scored.append((device, subset(case, rows & case.held_out)))
    if not sum(len(case.seconds) for _, case in fitted):
        return
    family = target.family.format(link="_".join(sorted(links)))
    prior = prior_of(target, family, fitted[0][0], only)
    values = fit(fitted, family, prior)
    count = sum(len(case.seconds) for _, case in scored)
    error = 100.0 * np.abs(np.expm1(log_errors(scored, family, values)))
    quality = f"{error.mean():.1f} % mean error on {count}" if count else "no"
    print(f"  # {quality} held-out rows of {', '.join(names)}")
    print(f"  {family}:")
    for name, value in values.items():
        if not only and abs(np.log(value / prior[name])) < UNMOVED:
            continue
        print(f"    {name}: {{value: {as_text(name, value)}, source: kernel-fit}}", flush=True)


def main() -> None:
    """Fits the asked families on the asked devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--device", action="append", required=True)
    parser.add_argument("--family", action="append")
    parser.add_argument("--only", action="append", help="fit these parameters, keep the rest as the device has them")
    parser.add_argument("--limit", type=int, default=800)
    args = parser.parse_args()
    for target in TARGETS:
        if not args.family or target.family in args.family:
            run(target, args.device, args.data, args.limit, args.only or ())


if __name__ == "__main__":
    main()
