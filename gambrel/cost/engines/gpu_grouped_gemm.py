"""Grouped matrix products (experts of a mixture) on a GPU: tiles per expert that was hit, one persistent kernel.

Legend: r mean rows of a hit expert; (tm, tn) the tile; N the units.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import (
    COLD,
    Parts,
    Residency,
    cache_bytes_per_s,
    cached_share,
    memory_seconds,
    p_norm,
)
from gambrel.cost.engines.variants import NARROW, format_variants
from gambrel.cost.kernel import GroupedGemm, Number
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

TILE_ROWS = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Rows that a tile may have."""

ALIGNED = 16.0
"""Rows of an operand whose length is a multiple of so many elements are loaded in full words."""


def grouped_gemm(kernel: GroupedGemm, device: Device, residency: Residency = COLD) -> Parts:
    """Prices the products of all experts that were hit as one kernel.

    ```
    tm = the least power of two not below tile_margin offered/experts, from least_tile to largest_tile, or a larger one
         where that is faster
    w  = tiles(tm) ceil(n/tn)/N      W = h ceil(w) + (1-h) max(w, 1)
    Tc = W k 2 tm tn / (e_c F/N)     Tl = W k max((tm ba + tn bb)/load, slice_latency/64)
    T  = launch + (Tc^p + Tl^p + Td^p)^(1/p) + W wave_overhead + offered pair_time + experts expert_time
         + (staging_passes rows (k ba + n bc) + foreign_passes (offered - rows) n bc)/B
    ```
    Td streams the hit experts' weights and the rows. Libraries take the tile from the mean number of rows that they
    are given for each of their experts, before they know whose these are: where a device is offered the pairs of a
    whole group, the tile is too large for its own, and the padding is multiplied as well. With a larger tile wherever
    that is faster, more rows never take less, as they sometimes do where a library's rule steps to a tile that suits
    them better. Operands whose rows are not a multiple of 16 elements are loaded at `unaligned_load_share` of the rate.
    Weights narrower than the activations are widened as in `gemm`. Sorting the pairs and copying or quantising rows are
    kernels of the same call, which look through all experts of the device; some write zeros for pairs of others.

    Does not count: routing, activation and combining (rows of their own), the busiest device's excess over the mean.

    Source: grouped scheduling: T. Gale et al., "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts", MLSys
    2023, section 5; tile by mean rows: vLLM, vllm/model_executor/layers/fused_moe/fused_moe.py, `get_default_config`,
    and FlashInfer's `tile_tokens_dim`; parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    variants = format_variants(kernel.rate, kernel.a_bytes, kernel.b_bytes)
    p = lookup.resolve(parameters.GroupedGemm(), device, "grouped_gemm", variants, kernel.library)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    offered = kernel.rows if kernel.offered_rows is None else kernel.offered_rows
    chosen = _tile_rows(p.tile_margin * offered / np.maximum(kernel.experts, 1e-9), p)
    stream = _stream(kernel, device, residency, p)
    largest = np.maximum(p.largest_tile, p.least_tile)
    products: Number = np.inf
    for rows in (0.0, *(x for x in TILE_ROWS if np.any((chosen < x) & (x <= largest)))):
        tile = np.clip(rows, chosen, largest)
        step = p_norm(2.0 * tile * p.tile_columns / flops, _load_seconds(kernel, device, tile, p), p.overlap_norm)
        waves = _tiles(kernel, tile) * np.ceil(kernel.n / p.tile_columns) / device.num_units
        rounds = p.wave_hardness * np.ceil(waves) + (1.0 - p.wave_hardness) * np.maximum(waves, 1.0)
        with_tile = p_norm(rounds * kernel.k * step, stream, p.overlap_norm) + rounds * p.wave_overhead
        products = np.minimum(products, with_tile)
    staged = kernel.rows * (kernel.k * kernel.a_bytes + kernel.n * kernel.c_bytes)
    zeros = np.maximum(offered - kernel.rows, 0.0) * kernel.n * kernel.c_bytes
    passed = p.staging_passes * staged + p.foreign_passes * zeros
    sorting = offered * p.pair_time + kernel.experts * p.expert_time + passed / bandwidth
    compute = kernel_flops(kernel) / (flops * device.num_units)
    return Parts(p.launch + products + sorting, compute=compute, memory=stream, latency=p.launch)


def _tile_rows(mean: Number, p: parameters.GroupedGemm) -> Number:
    """Rows of a tile for a mean number of rows that an expert is given."""
    tile = np.full(np.shape(mean), TILE_ROWS[0])
    for smaller, rows in pairwise(TILE_ROWS):
        tile = np.where(mean > smaller, rows, tile)
    return np.clip(tile, p.least_tile, np.maximum(p.largest_tile, p.least_tile))


def _tiles(kernel: GroupedGemm, tile: Number) -> Number:
    """Tiles along the rows, `sum over experts ceil(r_e/tm)`.

    With the same rows for all `hit ceil(r/tm)`. Else `hit/(1 - exp(-tm/r))`, the mean for rows that are spread
    exponentially about r: one tile for each expert where r is small, half a tile more than r/tm where it is large.
    """
    hit = np.minimum(kernel.hit_experts, np.maximum(kernel.rows, 1e-9))
    mean = np.maximum(kernel.rows, 1e-9) / np.maximum(hit, 1e-9)
    return hit * np.ceil(mean / tile) if kernel.even else hit / -np.expm1(-tile / mean)


def _load_seconds(kernel: GroupedGemm, device: Device, tile: Number, p: parameters.GroupedGemm) -> Number:
    """Seconds in which one unit fetches one step along k of its tile's operands."""
    aligned = np.mod(kernel.k, ALIGNED) == 0.0
    rate = p.load_bytes_per_clock_per_unit * device.clock_hz * np.where(aligned, 1.0, p.unaligned_load_share)
    load = np.maximum((tile * kernel.a_bytes + p.tile_columns * kernel.b_bytes) / rate, p.slice_latency / 64.0)
    if kernel.b_bytes < kernel.a_bytes * NARROW:
        load = np.maximum(load, p.tile_columns / (p.unpack_per_clock_per_unit * device.clock_hz))
    return load


def _stream(kernel: GroupedGemm, device: Device, residency: Residency, p: parameters.GroupedGemm) -> Number:
    """Seconds of the operands' traffic; what a measuring loop left in the cache comes from there."""
    moved = kernel_bytes(kernel)
    share = cached_share(residency.working_set_bytes, p.cache_share * device.cache_bytes)
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    cache = cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit)
    return memory_seconds(moved * (1.0 - share), moved * share, bandwidth, p.memory_ramp, cache)


def loop_device(device: Device, residency: Residency) -> Device:
    """The device whose roofline no estimate goes below: its memory serves only what the cache does not have."""
    share = np.minimum(cached_share(residency.working_set_bytes, device.cache_bytes), 1.0 - 1e-9)
    return replace(device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s / (1.0 - share))
