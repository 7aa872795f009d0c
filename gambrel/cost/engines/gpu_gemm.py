"""Matrix products on a GPU: tiles, waves, splits along k, cache reuse, bandwidth ramp, launch.

Legend: m, n, k, b of `C[b, m, n] = A[b, m, k] B[b, k, n]`; (tm, tn) the tile of C that one block computes; s the parts
that k is split into; N the units. All arrays broadcast; evaluation is chunked so that temporaries stay in cache.
"""

import math
from typing import NamedTuple

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, issued, memory_seconds, p_norm
from gambrel.cost.engines.variants import NARROW, product_variants
from gambrel.cost.kernel import Array, Gemm, Number
from gambrel.cost.roofline import kernel_flops, matrix_rate
from gambrel.hardware.device import Device

CANDIDATES: tuple[tuple[float, float, tuple[float, ...]], ...] = (
    (128.0, 128.0, (1.0, 2.0, 4.0, 8.0)),
    (256.0, 128.0, (1.0,)),
    (128.0, 256.0, (1.0,)),
    (64.0, 256.0, (1.0,)),
    (64.0, 128.0, (1.0, 2.0, 4.0)),
    (64.0, 64.0, (1.0, 3.0, 8.0, 24.0)),
    (128.0, 64.0, (1.0,)),
    (16.0, 128.0, (1.0, 2.0, 4.0)),
    (16.0, 64.0, (1.0, 2.0, 4.0, 8.0, 24.0)),
)
"""Tiles (tm, tn) with the splits of k that are tried; the fastest wins, as in a library's autotuner."""

FIXED_TILES = ((64.0, 64.0, 64.0), (128.0, 64.0, 128.0), (math.inf, 128.0, 128.0))
"""Most rows, and the tile (tm, tn) up to them, of a library that does not search; it does not split k either.

Source: vLLM, csrc/quantization/w8a8/cutlass/c3x/scaled_mm_sm90_fp8_dispatch.cuh.
"""

CHUNK = 8192
"""Design points per pass: temporaries of 64 KiB stay in a core's cache."""

K_STEP = 32.0
"""A block steps over k in slices of at least this many elements."""


ROUNDING = 1e-12
"""Slack of a bound over the rounding of what it bounds."""


class Points(NamedTuple):
    """Design points: sizes, and the traffic that every tiling shares."""

    m: Number
    n: Number
    k: Number
    batch: Number
    a: Number
    b: Number
    cold: Number
    hot: Number


class Rates(NamedTuple):
    """What the device can do, in SI units, achievable fractions taken; flops, load and unpack are those of one unit."""

    units: Number
    flops: Number
    load: Number
    unpack: Number
    memory: Number
    cache: Number
    cache_bytes: Number


def gemm(kernel: Gemm, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a matrix product as the best of some twenty tilings.

    ```
    g  = ceil(m/tm) ceil(n/tn) b s      w = g/N      W = h ceil(w) + (1-h) max(w, 1)
    ks = 32 ceil(k/(32 s))
    Tc = W ks 2 tm tn / (e_c F/N)
    Tl = W ks max((tm ba + tn bb)/load, slice_latency/64)
    Td = M(A + B + C - hot + reload, hot)
    T  = launch + min over tile, s of
         [(Tc^p + Tl^p + Td^p)^(1/p) + W wave_overhead + [s>1](split_overhead + 8 s m n b/B_cache)]
    ```
    h is the wave hardness, M the memory path of `memory_seconds`. Past `sustained_after` the clock falls and the
    excess is divided by `sustained_share`. With `quantized_from_bytes` a separate kernel reads A and writes it in
    its format, row by row: `quantize_launch + max(bytes/B, m b (quantize_row_time + k/quantize_rate)/N)`. Weights
    narrower than the activations are widened at `tn/unpack` a step, which joins Tl. A call that the host issues
    kernel by kernel takes `issue_floor` at least; one that it issues by itself, what `issued` gives.

    Does not count: bank conflicts, unaligned sizes, the epilogue's arithmetic, thread-block clusters.

    Source: tiles and wave quantisation: NVIDIA, "Matrix Multiplication Background User's Guide", sections on tile and
    wave quantization; splits of k: M. Osama et al., "Stream-K: Work-centric Parallel Decomposition for Dense
    Matrix-Matrix Multiplication on the GPU", PPoPP 2023, section 3; the norm and the parameters are fitted, see
    docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    variants = product_variants(kernel)
    p = lookup.resolve(parameters.gemm_defaults(device), device, "gemm", variants, kernel.library)
    rates = Rates(
        units=device.num_units,
        flops=p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units,
        load=p.load_bytes_per_clock_per_unit * device.clock_hz,
        unpack=p.unpack_per_clock_per_unit * device.clock_hz,
        memory=p.memory_efficiency * device.memory_bandwidth_bytes_per_s,
        cache=np.maximum(
            cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit),
            p.memory_efficiency * device.memory_bandwidth_bytes_per_s,
        ),
        cache_bytes=p.cache_share * device.cache_bytes,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        points = _points(kernel, rates, residency)
        seconds = p.launch + tiled_seconds(points, kernel, p, rates)
        excess = np.maximum(seconds - p.sustained_after, 0.0)
        seconds = seconds + excess * (1.0 / p.sustained_share - 1.0)
        memory = memory_seconds(points.cold, points.hot, rates.memory, p.memory_ramp, rates.cache)
    latency = p.launch
    if kernel.quantized_from_bytes:
        rows = points.batch * points.m
        rewritten = rows * points.k * (kernel.quantized_from_bytes + kernel.a_bytes) / rates.memory
        latency = latency + p.quantize_launch
        memory = memory + rewritten
        row = p.quantize_row_time + points.k / (p.quantize_per_clock_per_unit * device.clock_hz)
        seconds = seconds + p.quantize_launch + np.maximum(rewritten, rows * row / rates.units)
    seconds = issued(np.maximum(seconds, p.issue_floor), kernel.host_work, p.host_call, p.host_lead)
    latency = np.maximum(latency, kernel.host_work * p.host_call)
    return Parts(seconds, compute=kernel_flops(kernel) / (rates.flops * rates.units), memory=memory, latency=latency)


def _points(kernel: Gemm, rates: Rates, residency: Residency) -> Points:
    """The operands' bytes, split into what the memory serves and what a measuring loop left in the cache."""
    m, n, k, batch = (np.asarray(x, dtype=np.float64) for x in (kernel.m, kernel.n, kernel.k, kernel.batch))
    a, b, c = m * k * kernel.a_bytes, k * n * kernel.b_bytes, m * n * kernel.c_bytes
    weights, activations = b * batch, (a + c) * batch
    hot = weights * np.clip((rates.cache_bytes - activations) / np.maximum(weights * residency.weight_copies, 1), 0, 1)
    if residency.activations_hot:
        hot = hot + activations * np.clip((rates.cache_bytes - weights) / np.maximum(activations, 1), 0, 1)
    return Points(m=m, n=n, k=k, batch=batch, a=a, b=b, cold=weights + activations - hot, hot=hot)


def tiled_seconds(points: Points, kernel: Gemm, p: parameters.Gemm, rates: Rates) -> Array:
    """Least time over the candidate tiles and splits, without the launch.

    A what-if array among the device's numbers is evaluated in one piece, other points in pieces that stay in the cache.
    """
    if any(np.ndim(x) for x in (*rates, p.overlap_norm, p.wave_hardness, p.wave_overhead, p.split_overhead)):
        return _best_tiling(points, kernel, p, rates)
    arrays = np.broadcast_arrays(*points)
    flat = [np.ravel(x) for x in arrays]
    seconds = np.empty(flat[0].size)
    # Points of like size share their best tilings, so that a whole chunk can rule the others out.
    order = np.argsort(flat[0] * flat[1]) if seconds.size > CHUNK else np.arange(seconds.size)
    for start in range(0, seconds.size, CHUNK):
        part = order[start : start + CHUNK]
        seconds[part] = _best_tiling(Points(*(x[part] for x in flat)), kernel, p, rates)
    return seconds.reshape(arrays[0].shape)


def _best_tiling(x: Points, kernel: Gemm, p: parameters.Gemm, rates: Rates) -> Array:
    """Least time over the candidate tiles and splits, without the launch.

    A tiling is left out where it cannot be the best of any point: its blocks take at least `waves k step`, since rounds
    are at least waves and a split's depth at least its share of k, and a split adds its fixup.
    """
    best = np.asarray(np.inf)
    fixup = 8.0 * x.m * x.n * x.batch / rates.cache
    for tm, tn, splits in _candidates(p.least_tile) if np.any(p.tile_search) else _fixed_tiling(x.m):
        load = np.maximum((tm * kernel.a_bytes + tn * kernel.b_bytes) / rates.load, p.slice_latency / 64.0)
        if kernel.b_bytes < kernel.a_bytes * NARROW:
            load = np.maximum(load, tn / rates.unpack)
        step = p_norm(2.0 * tm * tn / rates.flops, load, p.overlap_norm)
        rows, cols = np.ceil(x.m / tm), np.ceil(x.n / tn)
        waves = rows * cols * x.batch / rates.units
        least = (1.0 - ROUNDING) * waves * (x.k * step + p.wave_overhead)
        if np.all(least >= best):
            continue
        cold = x.cold + _reload(x, rows, cols, tn / tm, rates)
        stream = memory_seconds(cold, x.hot, rates.memory, p.memory_ramp, rates.cache)
        for s in splits if np.all(np.isfinite(p.split_overhead)) else splits[:1]:
            if s > 1 and np.all(np.maximum(least, stream) + p.split_overhead + s * fixup >= best):
                continue
            depth = K_STEP * np.ceil(x.k / (K_STEP * s))
            rounds = p.wave_hardness * np.ceil(waves * s) + (1.0 - p.wave_hardness) * np.maximum(waves * s, 1.0)
            seconds = p_norm(rounds * depth * step, stream, p.overlap_norm) + rounds * p.wave_overhead
            if s > 1:
                seconds = seconds + (p.split_overhead + s * fixup)
            best = np.minimum(best, seconds)
    return best


def _candidates(least: Number) -> tuple[tuple[Number, Number, tuple[float, ...]], ...]:
    """The tiles of a library that has none with fewer rows or columns than `least`."""
    smallest = min(min(tm, tn) for tm, tn, _ in CANDIDATES)
    if np.all(least <= smallest):
        return CANDIDATES
    if np.ndim(least):
        return tuple((np.maximum(tm, least), np.maximum(tn, least), splits) for tm, tn, splits in CANDIDATES)
    merged: dict[tuple[float, float], tuple[float, ...]] = {}
    for tm, tn, splits in CANDIDATES:
        tile = max(tm, float(least)), max(tn, float(least))
        merged[tile] = tuple(sorted({*merged.get(tile, ()), *splits}))
    return tuple((tm, tn, splits) for (tm, tn), splits in merged.items())


def _fixed_tiling(m: Number) -> tuple[tuple[Number, Number, tuple[float, ...]]]:
    """The one tiling that a library takes for a number of rows."""
    conditions = [m <= most for most, _, _ in FIXED_TILES]
    tm, tn = (np.select(conditions, [tile[i] for tile in FIXED_TILES]) for i in (1, 2))
    return ((tm, tn, (1.0,)),)


def _reload(x: Points, rows: Number, cols: Number, aspect: Number, rates: Rates) -> Number:
    """Bytes streamed again because an operand exceeds the cache: the cheaper of A and B.

    The blocks in flight cover a super-row of about sqrt(N tn/tm) by N/that tiles. A is read once per super-column, B
    once per super-row; the share of a second reading that misses is `max(0, 1 - cache/operand)`.
    """
    high = np.minimum(rows, np.maximum(1.0, np.sqrt(rates.units * aspect)))
    wide = np.minimum(cols, np.maximum(rates.units / high, 1.0))
    again_a = np.maximum(x.a - rates.cache_bytes, 0.0) * np.maximum(cols / wide - 1.0, 0.0)
    again_b = np.maximum(x.b - rates.cache_bytes, 0.0) * np.maximum(rows / high - 1.0, 0.0)
    return x.batch * np.minimum(again_a, again_b)
