"""Attention of one new token per sequence on a GPU: split along the keys (flash decoding), bound by the KV cache.

Legend: b sequences, L keys, s splits of the keys, group = query heads per key head; N the units.
"""

from typing import NamedTuple

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.grouping import FEW, GROUPINGS, MQA_GROUP
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, looped_share, memory_seconds
from gambrel.cost.engines.variants import sized_variants
from gambrel.cost.kernel import Array, Attention, Number
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

KEY_TILE = 128.0
"""Keys that a block takes in at a time."""

MATRIX_ROWS = 16.0
"""Least rows of the matrix unit in kernels of latent attention."""

LATENT_ROWS = 64.0
"""Most of them, which are made for many heads."""

WIDE_BYTES = 2.0
"""Bytes of an element that a block computes with; narrower ones are widened as they are read, or beforehand."""

ROOT_TILES = 8.0
"""Splits that are counted over the whole cache are at most the root of so many times its tiles."""


def attention_decode(kernel: Attention, device: Device, residency: Residency = COLD) -> Parts:
    """Prices split-KV attention; parameters depend on the group size: `mha` (1), `gqa` (to 32), `mqa` (above).

    ```
    blocks = b h_kv ceil(group/heads_per_block)                    tiles = ceil(L/128)
    s = clip(split_waves N/blocks, 1, min(tiles, most_splits))     W(s) = max(ceil(blocks s/N), 1)
    key = max(2 elements_per_key/block_rate, 2 (d + dv) rows/(e_c F/N))
    block(s) = block_overhead + rows dv/(result_elements f) + 128 key (ceil(tiles/s) + [a window cuts keys] cut_tiles)
    T(s) = max(M + block(s) without keys, W(s) block(s) + b sequence_time) + [s > 1] (split_overhead + s split_time)
    T = launch + T(s)
    ```
    rows are the query heads of a block padded to `padded_heads` (64 where they stand in for the queries of a prompt, 8
    where keys fill the rows of the matrix unit), those of latent attention to 64 or what a block holds: a block takes
    them for each key, and reads and writes them once. elements_per_key are those of one key head, at two bytes as a
    block widens narrow formats as it reads. M streams queries and results, keys and values from memory once, and from
    the cache for each further block of a group, or all of them in a loop that left them there. Units that take blocks
    from a common list look through it sequence by sequence (`sequence_time`).

    How the splits are chosen is the library's: how many rounds of blocks it fills (`split_waves`, 0 never splits), up
    to how many splits, and whether it counts the whole cache where a window hides most of it, and then at most
    `sqrt(8 tiles)` splits (`split_history`), or whether it always starts the same number of blocks, with and without
    keys (`split_always`). A library that searches (`split_search`) takes at most the s that balances
    the tiles of a split with what it adds to the combine step, `sqrt(128 tiles key/split_time)`, splits tiles evenly,
    and takes s = 1 where that is faster. The library also says how many query heads share a block (`heads_per_block`),
    whether under a window each has its own and nothing is split (`window_apart`), and whether further kernels put the
    results of several key heads in order (`regroup_time`) or widen the whole cache beforehand (`widening_passes`).

    Does not count: pages that are not full, unequal lengths within the batch.

    Source: T. Dao, D. Haziza, F. Massa, G. Sizov, "Flash-Decoding for long-context inference", 2023; rules of the
    libraries: `num_splits_heuristic` and `VarlenDynamicPersistentTileScheduler` of FlashAttention,
    `computeMultiBlockCount` of TensorRT-LLM's XQA kernels, `computeNumCtas` of its Blackwell kernels; parameters are
    fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    group = np.maximum(np.asarray(kernel.heads) / np.maximum(kernel.kv_heads, 1e-9), 1.0)
    few = FEW.get(kernel.library, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kind = np.where(group <= few, 0, np.where(group <= MQA_GROUP, 1, 2))
        for number, name in enumerate(GROUPINGS):
            if np.all(kind == number):
                return _split(kernel, device, group, name, residency)
        mha, gqa, mqa = (_split(kernel, device, group, name, residency) for name in GROUPINGS)
        pick = [np.where(kind == 0, x, np.where(kind == 1, y, z)) for x, y, z in zip(mha, gqa, mqa, strict=True)]
        return Parts(*pick)


class Work(NamedTuple):
    """What one launch has to do.

    Attributes:
        blocks: Before any split.
        tiles: Of keys, for each block.
        tile_seconds: That a block takes for one of them.
        stream: Seconds of the memory path.
        splits: That the library's rule asks for, not below 1.
        overhead: Seconds of a block beside its keys.
        cut: Tiles that a block takes longer for, where a window cuts the cache.
        passed: Seconds of all its units to find the sequences of their blocks.
    """

    blocks: Array
    tiles: Array
    tile_seconds: Array
    stream: Number
    splits: Array
    overhead: Array
    cut: Array
    passed: Array


def _split(kernel: Attention, device: Device, group: Array, grouping: str, residency: Residency) -> Parts:
    """The time of the library's splits, with the parameters of one group class."""
    variants = sized_variants(grouping, kernel)
    p = lookup.resolve(parameters.Decode(), device, "attention_decode", variants, kernel.library)
    loop = p.cache_share * device.cache_bytes if residency.activations_hot else 0.0
    share = looped_share(kernel_bytes(kernel), loop)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    work = _work(kernel, device, p, group, flops, share)
    best = np.sqrt(work.tiles * work.tile_seconds / np.maximum(p.split_time, 1e-12))
    searched = np.asarray(p.split_search) > 0.0
    splits = np.where(searched, np.maximum(np.minimum(work.splits, best), 1.0), work.splits)
    each = np.where(searched, work.tiles / splits, np.ceil(work.tiles / splits - 1e-9))
    combine = np.where(splits > 1.0, p.split_overhead + splits * p.split_time, 0.0)
    chosen = _seconds(work, splits, each, device) + combine
    whole = _seconds(work, np.ones(()), work.tiles, device)
    chosen = np.where(searched, np.minimum(chosen, whole), chosen)
    regroup = np.where((group > 1.0) & (np.asarray(kernel.kv_heads) > 1.0), p.regroup_time, 0.0)
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    widening = p.widening_passes * 2.0 * WIDE_BYTES * kernel.kv_bytes_total / kernel.kv_bytes / bandwidth
    compute = kernel_flops(kernel) / (flops * device.num_units)
    memory = work.stream + widening
    return Parts(p.launch + regroup + widening + chosen, compute=compute, memory=memory, latency=p.launch, cached=share)


def _work(kernel: Attention, device: Device, p: parameters.Decode, group: Array, flops: Number, share: Number) -> Work:
    apart = np.isfinite(kernel.window) & (np.asarray(p.window_apart) > 0.0)
    head_tiles = np.ceil(group / np.where(apart, 1.0, p.heads_per_block))
    blocks = kernel.batch * kernel.kv_heads * head_tiles
    tiles = np.ceil(kernel.kv_len / KEY_TILE)

    moved = kernel_bytes(kernel)
    again = kernel.kv_bytes_total * (head_tiles - 1.0)
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    cache = cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit)
    stream = memory_seconds(moved * (1.0 - share), moved * share + again, bandwidth, p.memory_ramp, cache)

    keys = np.maximum(kernel.batch * kernel.kv_heads * kernel.kv_len, 1.0)
    read = WIDE_BYTES * kernel.kv_bytes_total / kernel.kv_bytes / keys / p.block_bytes_per_s
    latent = np.asarray(kernel.v_head_dim) < kernel.head_dim
    padded = np.where(latent, np.clip(p.heads_per_block, MATRIX_ROWS, LATENT_ROWS), p.padded_heads)
    rows = padded * np.ceil(group / head_tiles / padded)
    cut = np.where(np.asarray(kernel.cached_len) > kernel.kv_len, p.cut_tiles, 0.0)
    math = 2.0 * (kernel.head_dim + kernel.v_head_dim) * rows / flops
    results = rows * kernel.v_head_dim / (p.result_elements_per_clock_per_unit * device.clock_hz)
    passed = np.asarray(p.sequence_time * kernel.batch)
    whole = np.ceil(np.maximum(kernel.cached_len, kernel.kv_len) / KEY_TILE)
    most = np.where(np.asarray(p.split_history) > 0.0, np.minimum(whole, np.sqrt(ROOT_TILES * whole)), tiles)
    most = np.minimum(most, p.most_splits)
    wanted = np.where(apart, 0.0, p.split_waves) * device.num_units / np.maximum(blocks, 1e-9)
    splits = np.maximum(np.minimum(wanted, most), 1.0)
    splits = np.where(np.asarray(p.split_always) > 0.0, p.most_splits, splits)
    return Work(
        blocks, tiles, KEY_TILE * np.maximum(read, math), stream, splits, p.block_overhead + results, cut, passed
    )


def _seconds(work: Work, splits: Array, tiles: Array, device: Device) -> Array:
    """Time of all blocks with some splits of the keys and tiles for each, without the step that combines them."""
    # Blocks that fill the units exactly are one round in spite of rounding.
    rounds = np.maximum(np.ceil(work.blocks * splits / device.num_units - 1e-9), 1.0)
    block = work.overhead + (tiles + work.cut) * work.tile_seconds
    return np.maximum(work.stream + work.overhead, rounds * block + work.passed)
