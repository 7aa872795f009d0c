"""Attention over many new tokens on a GPU: fused (flash) kernel, one block per 128 or 64 queries of one head.

Legend: b sequences, h query heads, S new tokens, L keys of one query tile, d and dv head sizes; N the units.
"""

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, looped_share, p_norm
from gambrel.cost.engines.variants import sized_variants
from gambrel.cost.kernel import Array, Attention, Number
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

MATRIX_ROWS = 64.0
"""Queries of the narrower tile, which the matrix unit pads fewer ones to."""

HEAD_STEP = 32.0
"""Head sizes that kernels are compiled for are multiples of it."""

APPEND_THREADS = 512.0
"""Threads at most of the block that writes the keys and values of one token to the cache."""

UNIT_THREADS = 2048.0
"""Threads that a unit holds."""

KEY_STEP = 64.0
"""Keys that a block loads at a time."""


def attention_prefill(kernel: Attention, device: Device, residency: Residency = COLD) -> Parts:
    """Prices fused attention by its query tiles: matrix work and exponentials per tile, spread over the units.

    ```
    tiles = b min(h ceil(S/q), h_kv ceil(S h/h_kv/q))          q = tile_queries, r = 64 for tiles of up to 64, else q
    tile(L) = [(2 r (d + dv) L/(e_c F/N))^3 + (r L/(exponentials f))^3]^(1/3) + tile_overhead
    T = launch + M(prologue_passes QO_bytes) + max(M(append_passes new_KV_bytes), b S append_block_time/places)
        + max(max(tiles tile(mean L)/N, min(tile(longest L), tiles tile(mean L))) + tail, M(bytes))
    ```
    Few queries of several heads share a tile where the heads share keys and the kernel packs them (`packing`). d and dv
    are rounded up to 32. mean L is `pairs/S` plus half of `mask_keys` of masked work, twice that where a window cuts
    the other end too, at most the longest; kernels that only mask what is beyond a window walk over all keys
    (`window_skipped`). The longest is `kv_len`, at most twice the mean (a causal triangle). The tail is `tail_share` of
    the longest tile once tiles outnumber units: most where tiles come in the order of the queries, little where the
    longest come first. M streams from memory, or from the cache in a loop that left operands
    there. The prologue is only there where the kernel says so: queries are rotated, and new keys and values appended to
    a cache. Where each token has a block of min(h_kv d, 512) threads for the latter, of which N units hold 2048 each,
    that block's latency and not its bytes may bind (`append_block_time`).

    Does not count: cache misses on keys and values read by several tiles, unequal lengths within the batch.

    Source: T. Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", 2023, section 3;
    J. Shah et al., "FlashAttention-3", 2024, section 3.1 (exponentials against matrix work); vLLM,
    `reshape_and_cache_flash_kernel` (a block for each token); FlashAttention, `run_mha_fwd_splitkv_dispatch` (tiles of
    64 queries over a paged cache), `hopper/tile_scheduler.hpp` (the longest tiles first); parameters are fitted, see
    docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    variants = sized_variants(kernel.rate, kernel)
    p = lookup.resolve(parameters.Prefill(), device, "attention_prefill", variants, kernel.library)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    moved = kernel_bytes(kernel)
    loop = p.cache_share * device.cache_bytes if residency.activations_hot else 0.0
    share = looped_share(moved, loop)
    cache = cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit)
    byte_seconds = (1.0 - share) / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s) + share / cache

    stream = moved * byte_seconds
    seconds = p.launch + np.maximum(_tiles_seconds(kernel, device, p, flops), stream)
    if kernel.prologue:
        tokens = kernel.batch * kernel.q_len
        rotated = p.prologue_passes * kernel.heads * kernel.head_dim * 2.0 * kernel.q_bytes * byte_seconds
        width = kernel.kv_heads * kernel.head_dim
        appended = width + kernel.kv_heads * kernel.v_head_dim
        copy = p.append_passes * appended * (kernel.q_bytes + kernel.kv_bytes) * byte_seconds
        slots = device.num_units * UNIT_THREADS / np.minimum(width, APPEND_THREADS)
        rewrite = tokens * (rotated + np.maximum(copy, p.append_block_time / slots))
        seconds, stream = seconds + rewrite, stream + rewrite
    compute = kernel_flops(kernel) / (flops * device.num_units)
    return Parts(seconds, compute=compute, memory=stream, latency=p.launch, cached=share)


def _tiles_seconds(kernel: Attention, device: Device, p: parameters.Prefill, flops: Number) -> Array:
    """Time of all tiles on all units, with its tail."""
    longest = KEY_STEP * np.ceil(kernel.kv_len / KEY_STEP)
    triangle = kernel.q_len * (kernel.kv_len - (kernel.q_len - 1.0) / 2.0)
    whole = (np.asarray(p.window_skipped) <= 0.0) & np.isfinite(kernel.window)
    pairs = np.where(whole, triangle, kernel.pairs)
    windowed = np.clip(2.0 - 2.0 * pairs / np.maximum(triangle, 1.0), 0.0, 1.0)
    masked = (1.0 + windowed) * np.maximum(p.mask_keys - 1.0, 0.0) / 2.0
    mean = np.minimum(pairs / np.maximum(kernel.q_len, 1.0) + masked, longest)
    longest = np.minimum(longest, 2.0 * mean)
    tiles, rows = _tiles(kernel, p)
    padded = HEAD_STEP * (np.ceil(kernel.head_dim / HEAD_STEP) + np.ceil(kernel.v_head_dim / HEAD_STEP))
    exponentials = p.exponentials_per_clock_per_unit * device.clock_hz
    per_key = p_norm(2.0 * rows * padded / flops, rows / exponentials, 3.0)
    work = tiles * (per_key * mean + p.tile_overhead)
    last = per_key * longest + p.tile_overhead
    spread = np.maximum(work / device.num_units, np.minimum(last, work))
    return spread + np.clip(tiles / device.num_units - 1.0, 0.0, 1.0) * p.tail_share * last


def _tiles(kernel: Attention, p: parameters.Prefill) -> tuple[Array, Array]:
    """Tiles of all sequences and heads, and the queries that the matrix unit computes for each."""
    group = np.maximum(np.asarray(kernel.heads) / np.maximum(kernel.kv_heads, 1e-9), 1.0)
    apart = kernel.heads * np.ceil(kernel.q_len / p.tile_queries)
    packed = np.where(
        np.asarray(p.packing) > 0.0, kernel.kv_heads * np.ceil(kernel.q_len * group / p.tile_queries), apart
    )
    filled = kernel.q_len * np.where(packed < apart, group, 1.0)
    return kernel.batch * np.minimum(apart, packed), np.where(filled > MATRIX_ROWS, p.tile_queries, MATRIX_ROWS)
