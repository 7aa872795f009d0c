"""Attention over many new tokens on a GPU: fused (flash) kernel, one block per 128 queries of one head.

Legend: b sequences, h query heads, S new tokens, L keys of one query tile, d and dv head sizes; N the units.
"""

import numpy as np

from gambrel.cost.engines import parameters
from gambrel.cost.engines.parts import Parts, p_norm
from gambrel.cost.kernel import Attention
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

Q_TILE = 128.0
"""Queries of one block."""

KEY_STEP = 64.0
"""Keys that a block loads at a time."""


def attention_prefill(kernel: Attention, device: Device) -> Parts:
    """Prices fused attention by its query tiles: matrix work and exponentials per tile, spread over the units.

    ```
    tiles = b min(h ceil(S/128), h_kv ceil(S h/h_kv/128))
    tile(L) = [(256 (d + dv) L/(e_c F/N))^3 + (128 L/(exponentials f))^3]^(1/3) + tile_overhead
    T = launch + prologue_passes 2 QKV_bytes/B
        + max(max(tiles tile(mean L)/N, min(tile(longest L), tiles tile(mean L))) + tail, bytes/B)
    ```
    Few queries of several heads share a tile where the heads share keys. mean L is `pairs/S` plus half a tile of masked
    work, at most the longest; the longest is `kv_len`, at most twice the mean (a causal triangle). The tail is half the
    longest tile once tiles outnumber units. The prologue is only there where the kernel says so.

    Does not count: cache misses on keys and values read by several tiles, unequal lengths within the batch.

    Source: T. Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", 2023, section 3;
    J. Shah et al., "FlashAttention-3", 2024, section 3.1 (exponentials against matrix work); parameters are fitted, see
    docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    variants = parameters.cache_variants(kernel.rate, kernel.kv_bytes, kernel.q_bytes)
    p = parameters.resolve(parameters.Prefill(), device, "attention_prefill", variants, kernel.library)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    exponentials = p.exponentials_per_clock_per_unit * device.clock_hz
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    width = kernel.head_dim + kernel.v_head_dim

    longest = KEY_STEP * np.ceil(kernel.kv_len / KEY_STEP)
    mean = np.minimum(kernel.pairs / np.maximum(kernel.q_len, 1.0) + (Q_TILE - 1.0) / 2.0, longest)
    longest = np.minimum(longest, 2.0 * mean)
    per_key = p_norm(2.0 * Q_TILE * width / flops, Q_TILE / exponentials, 3.0)
    packed = kernel.kv_heads * np.ceil(kernel.q_len * kernel.heads / np.maximum(kernel.kv_heads, 1e-9) / Q_TILE)
    tiles = kernel.batch * np.minimum(kernel.heads * np.ceil(kernel.q_len / Q_TILE), packed)
    work = tiles * (per_key * mean + p.tile_overhead)
    last = per_key * longest + p.tile_overhead
    spread = np.maximum(work / device.num_units, np.minimum(last, work))
    tail = np.clip(tiles / device.num_units - 1.0, 0.0, 1.0) * 0.5 * last

    stream = kernel_bytes(kernel) / bandwidth
    seconds = p.launch + np.maximum(spread + tail, stream)
    if kernel.prologue:
        new = kernel.batch * kernel.q_len * (kernel.heads * kernel.head_dim + kernel.kv_heads * width)
        rewrite = p.prologue_passes * 2.0 * new * kernel.q_bytes / bandwidth
        seconds, stream = seconds + rewrite, stream + rewrite
    return Parts(seconds, compute=kernel_flops(kernel) / (flops * device.num_units), memory=stream, latency=p.launch)
