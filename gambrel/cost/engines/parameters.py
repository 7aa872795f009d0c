"""Parameters of the engines: physical constants of a device family, and their vendor-neutral defaults.

A profile gives them per family (`parameters: {gemm: {launch: 2.0 us}}`), per variant and per library, which
`gambrel.cost.engines.lookup` reads. The defaults are no device's: they lie between the values that were fitted on
NVIDIA A100, H100, H200, B200 and L40S, so an unknown GPU is priced like a middling one.

Source of every default that names none: near the geometric mean over the four generations that were fitted on the open
kernel measurements of aiconfigurator 0.12.0 and Vidur, see docs/explanation/cost-model.md.
"""

import math
from dataclasses import dataclass

import numpy as np

from gambrel.hardware.device import Device, Number

HOST_CALL_S, HOST_LEAD_S = 27e-6, 14e-6
"""Seconds of a host to issue the addition of two tensors by itself through PyTorch, and those before its kernel starts.

Source: near the geometric means over the hosts of NeuSight's measurements on NVIDIA GPUs (20 to 45 us, 13 to 22 us).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """Family `gemm`; variants by rate (`gemm_fp8`).

    Attributes:
        launch: Seconds from launch to the first instruction, and drain, inside a captured graph (17 to 50 us eager).
        wave_overhead: Seconds of prologue and epilogue per wave of tiles.
        compute_efficiency: Achievable share of the matrix peak.
        memory_efficiency: Achievable share of the memory bandwidth.
        memory_ramp: Seconds until the memory pipeline is full (Little's law).
        load_bytes_per_clock_per_unit: Rate at which one unit fetches tile operands from the cache.
        cache_bytes_per_clock_per_unit: Rate at which operands that stayed in the last-level cache are streamed, unless
            the memory is faster.
        cache_share: Share of the last-level cache that operands can occupy.
        slice_latency: Seconds to step over 64 of k, the least a tile's inner loop takes.
        split_overhead: Seconds of the reduction after a split along k.
        overlap_norm: Exponent p of the norm that joins compute, load and memory time (1 adds, infinity overlaps).
        wave_hardness: 1 for hard waves (each takes as long as a full one), 0 for a persistent schedule.
        sustained_after: Seconds after which the clock falls to what the power limit sustains.
        sustained_share: Share of the speed that remains then.
        quantize_launch: Launch of a separate kernel that quantises the activations.
        quantize_row_time: Seconds that one row takes that kernel on one unit, beside its elements.
        quantize_per_clock_per_unit: Elements per clock that it quantises on one unit.
        unpack_per_clock_per_unit: Weights per clock that one unit widens where they are narrower than the activations.
        least_tile: Rows and columns that the smallest tile of the library has.
        tile_search: 1 where the library picks the best tiling by search, 0 where by the number of rows alone.
        issue_floor: Seconds that the host takes to issue the call's kernels one by one; 0 inside a captured graph.
        host_call, host_lead: Seconds of the host for a call of work 1 that it issues by itself, and those of them
            before the kernel starts.
    """

    launch: Number = 1.4e-6
    wave_overhead: Number = 1.0e-6
    compute_efficiency: Number = 0.74
    memory_efficiency: Number = 0.82
    memory_ramp: Number = 0.9e-6
    load_bytes_per_clock_per_unit: Number = 150.0
    cache_bytes_per_clock_per_unit: Number = 14.0
    cache_share: Number = 0.4
    slice_latency: Number = 0.09e-6
    split_overhead: Number = 1.8e-6
    overlap_norm: Number = 2.8
    wave_hardness: Number = 0.2
    sustained_after: Number = 5e-3
    sustained_share: Number = 0.9
    quantize_launch: Number = 3.6e-6
    quantize_row_time: Number = 0.03e-6
    quantize_per_clock_per_unit: Number = 3.0
    unpack_per_clock_per_unit: Number = 32.0
    least_tile: Number = 16.0
    tile_search: Number = 1.0
    issue_floor: Number = 0.0
    host_call: Number = HOST_CALL_S
    host_lead: Number = HOST_LEAD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedGemm:
    """Family `grouped_gemm`; variants and names are those of `gemm`, and these.

    Attributes:
        launch: Seconds of start-up and drain, with those of the kernels that sort, copy or quantise rows for it.
        unaligned_load_share: Share of the load rate that is left where rows are no multiple of 16 elements.
        pair_time: Seconds that one pair of token and expert takes to be sorted, on the whole device.
        expert_time: Seconds that each expert of the device takes, hit or not: its descriptor, and a place in the tables
            that the kernels look through.
        foreign_passes: Passes over the results of pairs that other devices multiply, where kernels write zeros there.
        staging_passes: Passes over the product's rows, operands and results, that kernels of the same call add.
        least_tile: Fewest rows of a tile.
        largest_tile: Most rows of a tile; with `least_tile` no smaller, the tile is fixed.
        tile_columns: Columns of a tile.
        tile_margin: What the mean rows of an expert are multiplied by before the tile is chosen.
    """

    launch: Number = 9.0e-6
    wave_overhead: Number = 0.6e-6
    compute_efficiency: Number = 0.45
    memory_efficiency: Number = 0.92
    memory_ramp: Number = 4.0e-6
    load_bytes_per_clock_per_unit: Number = 200.0
    cache_bytes_per_clock_per_unit: Number = 16.0
    cache_share: Number = 0.8
    slice_latency: Number = 0.08e-6
    overlap_norm: Number = 1.5
    wave_hardness: Number = 0.7
    unpack_per_clock_per_unit: Number = 35.0
    unaligned_load_share: Number = 0.03
    pair_time: Number = 0.6e-9
    expert_time: Number = 2e-9
    foreign_passes: Number = 0.05
    staging_passes: Number = 0.2
    least_tile: Number = 8.0
    largest_tile: Number = 64.0
    tile_columns: Number = 128.0
    tile_margin: Number = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """Family `attention_prefill`.

    Attributes:
        launch: Seconds of start-up and drain.
        tile_overhead: Seconds of prologue and epilogue per query tile.
        compute_efficiency: Achievable share of the matrix peak.
        memory_efficiency: Achievable share of the memory bandwidth.
        exponentials_per_clock_per_unit: Achievable rate of the special-function units.
        cache_bytes_per_clock_per_unit: Rate at which operands that are in the last-level cache are streamed.
        cache_share: Share of the last-level cache that they can occupy.
        mask_keys: Keys that a tile computes and masks where the mask cuts it: half of them on average.
        prologue_passes: Passes over the queries, there and back, where the same call rotates them.
        append_passes: Passes over the new keys and values where the same call fills the cache.
        append_block_time: Seconds of the block that puts the keys and values of one token into the cache, where each
            token has one of its own; 0 where blocks take several.
        tail_share: Share of the longest tile that the units wait for at the end, once tiles outnumber them.
        tile_queries: Queries of one tile at most.
        packing: 1 where few queries of heads that share keys share a tile, 0 where each head has its own.
        window_skipped: 1 where tiles skip the keys that a window hides, 0 where they only mask them.
    """

    launch: Number = 10.1e-6
    tile_overhead: Number = 2.06e-6
    compute_efficiency: Number = 0.602
    memory_efficiency: Number = 0.95
    exponentials_per_clock_per_unit: Number = 11.9
    cache_bytes_per_clock_per_unit: Number = 13.5
    cache_share: Number = 0.999
    mask_keys: Number = 252.0
    prologue_passes: Number = 0.694
    append_passes: Number = 2.15
    append_block_time: Number = 0.0
    tail_share: Number = 0.5
    tile_queries: Number = 128.0
    packing: Number = 0.0
    window_skipped: Number = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """Family `attention_decode`; variants `mha`, `gqa` (up to 32 query heads a key head) and `mqa` (above).

    Attributes:
        launch: Seconds of start-up and drain.
        memory_efficiency: Achievable share of the memory bandwidth.
        memory_ramp: Seconds until the memory pipeline is full.
        cache_bytes_per_clock_per_unit: Rate at which keys and values that are in the last-level cache are streamed.
        cache_share: Share of the last-level cache that they can occupy.
        block_bytes_per_s: Rate at which one block takes in keys and values, counted as two bytes an element.
        block_overhead: Seconds of start-up per round of blocks.
        result_elements_per_clock_per_unit: Rate at which a block reads its queries and writes its results.
        sequence_time: Seconds that a unit takes to pass over one sequence in search of its blocks'; 0 where the number
            of a block says which is its own.
        cut_tiles: Tiles of keys that a block takes longer for where a window cuts the cache.
        split_overhead: Seconds of the combine step after a split along the keys.
        split_time: Seconds that each split adds to it.
        compute_efficiency: Achievable share of the matrix peak, query heads padded to the matrix unit.
        widening_passes: Passes over the cache, there and back at two bytes an element, of a kernel that widens it.
        regroup_time: Seconds of a further kernel that puts the results of several key heads in order.
        split_waves: Rounds of blocks that splitting fills at most; 0 where keys are never split.
        most_splits: Splits of the keys at most.
        split_search: 1 where keys are split only if that is faster, 0 where by the rule alone.
        split_history: 1 where splits are counted over the whole cache and grow with its root.
        split_always: 1 where there are `most_splits` blocks of any keys: those that find none start all the same.
        heads_per_block: Query heads of one group that a block holds at most.
        padded_heads: Query heads that the matrix unit pads those of a block to a multiple of.
        window_apart: 1 where under a window each query head has a block of its own that is not split.
    """

    launch: Number = 7.95e-6
    memory_efficiency: Number = 0.832
    memory_ramp: Number = 11.5e-6
    cache_bytes_per_clock_per_unit: Number = 22.5
    cache_share: Number = 0.713
    block_bytes_per_s: Number = 191e9
    block_overhead: Number = 1.8e-6
    result_elements_per_clock_per_unit: Number = 4.0
    sequence_time: Number = 0.0
    cut_tiles: Number = 1.0
    split_overhead: Number = 1.08e-6
    split_time: Number = 0.313e-6
    compute_efficiency: Number = 0.199
    widening_passes: Number = 0.0
    regroup_time: Number = 0.0
    split_waves: Number = 1.0
    most_splits: Number = 128.0
    split_search: Number = 1.0
    split_history: Number = 0.0
    split_always: Number = 0.0
    heads_per_block: Number = 64.0
    padded_heads: Number = 16.0
    window_apart: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Family `scan`; variants `gdn`, `mamba2`, `step`, `conv` and `conv_step`.

    Attributes:
        launch: Seconds of start-up and drain, of all kernels of the call.
        compute_efficiency: Achievable share of the matrix peak; of a convolution, of the vector units' peak.
        memory_efficiency: Achievable share of the memory bandwidth.
        cache_bytes_per_clock_per_unit: Rate at which cache-resident operands are streamed.
        cache_share: Share of the last-level cache that operands can occupy.
        inverse_time: Seconds of the serial steps inside a whole chunk, where they are a kernel of their own.
        chunk_time: Seconds to hand a state from one chunk to the next, where a kernel of its own does.
        fused: Share of the staged bytes and hand-overs that a fused kernel saves: 1 where one kernel walks through
            the chunks, 0 where each part of the chunked form is a kernel.

    Source: fitted on the unfused `chunk_gated_delta_rule` kernels of aiconfigurator 0.12.0, which run everywhere, and
    those of `SCANS` on its decode kernels and convolutions; half of the shape sites each.
    """

    launch: Number = 18e-6
    compute_efficiency: Number = 0.25
    memory_efficiency: Number = 0.57
    cache_bytes_per_clock_per_unit: Number = 11.5
    cache_share: Number = 0.85
    inverse_time: Number = 7.0e-6
    chunk_time: Number = 2.5e-6
    fused: Number = 0.0


SCANS = {
    "step": Scan(launch=4.0e-6, memory_efficiency=0.81, cache_bytes_per_clock_per_unit=20.0, cache_share=0.7),
    "conv": Scan(launch=3.0e-6, compute_efficiency=0.13, memory_efficiency=0.65, cache_bytes_per_clock_per_unit=10.0),
    "conv_step": Scan(
        launch=2.2e-6, compute_efficiency=0.13, memory_efficiency=0.7, cache_bytes_per_clock_per_unit=12.5
    ),
}
"""Defaults of the variants that are a sweep over states or tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBound:
    """Family `memory_bound`; variants by op (`memory_bound_softmax`), each with defaults of its own.

    Attributes:
        launch: Seconds of start-up and drain.
        memory_efficiency: Achievable share of the memory bandwidth.
        memory_ramp: Seconds until the memory pipeline is full.
        compute_efficiency: Achievable share of the rate of the vector units.
        cache_bytes_per_clock_per_unit: Rate at which cache-resident operands are streamed.
        cache_share: Share of the last-level cache that operands can occupy.
        access_bytes_per_clock_per_unit: Rate at which the instructions of one unit move bytes, wherever they are; low
            where a kernel moves one narrow element at a time.
        overlap_norm: Exponent of the norm that joins the time of the stream and of its instructions.
        rows_at_once: Rows that one unit works on at a time, where each is a block's.
        row_time: Seconds that these take beside the time of their bytes.
        second_pass: Passes over the input that a reduction adds where rows exceed `long_row` elements.
        long_row: Elements of a row that still fit one block's registers.
        rows_in_flight: Rows that one unit works on at a time, which must fit the cache to be found there again.
        kept_share: Share of the last-level cache that these rows can occupy.
        host_call, host_lead: As of `gemm`.
    """

    launch: Number = 2.0e-6
    memory_efficiency: Number = 0.87
    memory_ramp: Number = 0.7e-6
    compute_efficiency: Number = 0.8
    cache_bytes_per_clock_per_unit: Number = 18.0
    cache_share: Number = 0.7
    access_bytes_per_clock_per_unit: Number = 64.0
    overlap_norm: Number = 3.0
    rows_at_once: Number = 2.0
    row_time: Number = 0.3e-6
    second_pass: Number = 0.0
    long_row: Number = 0.0
    rows_in_flight: Number = 16.0
    kept_share: Number = 0.5
    host_call: Number = HOST_CALL_S
    host_lead: Number = HOST_LEAD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """Family `convolution`; variants by rate (`convolution_fp32`).

    Attributes:
        launch: Seconds of a call that no size changes: start-up, changes of layout, the bias.
        compute_efficiency: Achievable share of the matrix peak of the direct algorithm.
        winograd_launch: Further seconds of the kernels that transform images, filters and results.
        winograd_efficiency: Achievable share of the matrix peak of the products between the transforms.
        memory_efficiency: Achievable share of the memory bandwidth.
        slice_latency, overlap_norm, wave_hardness, least_tile: As of `gemm`; no algorithm splits the depth.
        host_call, host_lead: As of `gemm`.

    Source: near the geometric means of fits on half of the shape sites of NeuSight's fp32 convolutions on P100, V100,
    T4 and A100.
    """

    launch: Number = 150e-6
    compute_efficiency: Number = 0.78
    winograd_launch: Number = 60e-6
    winograd_efficiency: Number = 0.62
    memory_efficiency: Number = 0.87
    slice_latency: Number = 4e-6
    overlap_norm: Number = 2.0
    wave_hardness: Number = 0.7
    least_tile: Number = 64.0
    host_call: Number = HOST_CALL_S
    host_lead: Number = HOST_LEAD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """Family `collective_<link name>`; variants by operation (`collective_nvlink_all_gather`).

    Attributes:
        low_latency_launch, low_latency_hop, low_latency_efficiency: Start-up, seconds per further member and share of
            the link's bandwidth of the low-latency (two-shot, flag-in-data) algorithm.
        one_shot_launch: Start-up where every member reads the buffers of all others, of an all-reduce.
        ring_launch, ring_hop, ring_efficiency: The same of the bandwidth (ring, pairwise) algorithm.
        in_network_efficiency: Share of the link's bandwidth of a reduction in the switch.
        unit_bytes_per_s: Rate at which one unit of the device sends, where the caller says how many do.
        local_passes: Passes over the message that a ring's kernel makes on the device beside what it sends, at the same
            rate.
        issue_floor: Seconds that the host takes to issue the call; 0 inside a captured graph.
        ramp: Seconds that a message loses until chunks of it are on all channels of a bandwidth algorithm.
        sharing: Exponent with which the bandwidth of each falls as devices share ports: those of a node its port to
            other nodes, more than two cards on PCIe the host bridges; 0 where each has its own.

    Source: two-protocol alpha-beta form with values between those fitted on NVLink 3 to 5; what differs by operation
    and topology, and a hop, see `gambrel.cost.engines.collective_defaults`.
    """

    low_latency_launch: Number = 5.0e-6
    low_latency_hop: Number = math.nan
    low_latency_efficiency: Number = 0.35
    ring_launch: Number = 18.0e-6
    ring_hop: Number = math.nan
    ring_efficiency: Number = 0.65
    in_network_efficiency: Number = 0.48
    one_shot_launch: Number = 4.0e-6
    unit_bytes_per_s: Number = 15e9
    local_passes: Number = 0.4
    issue_floor: Number = 0.0
    sharing: Number = 0.0
    ramp: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Family `roofline`, read by the engine of that name; the defaults are plain roofline."""

    compute_efficiency: Number = 1.0
    memory_efficiency: Number = 1.0
    launch: Number = 0.0


DEFAULTS = {
    "gemm": Gemm(),
    "convolution": Convolution(),
    "grouped_gemm": GroupedGemm(),
    "attention_prefill": Prefill(),
    "attention_decode": Decode(),
    "scan": Scan(),
    "memory_bound": MemoryBound(),
    "collective": Collective(),
    "roofline": Roofline(),
}
"""The parameter families and their vendor-neutral values."""


def gemm_defaults(device: Device) -> Gemm:
    """The defaults of `gemm` on a device: a wave costs the less, the faster its units multiply.

    Units of 7.5 TFLOP/s and more are fed by asynchronous copies and write results behind the next tile's products;
    others fill and drain their pipeline with each tile: `min(2 us, 1 us (7.5 TFLOP/s / x)^1.8)` for x FLOP/s of sixteen
    bits in a unit. A device that only has a faster clock is never slower.

    Source: the exponent and the bounds follow the values fitted on A100, L40S, H100 and B200.
    """
    rates = [device.matrix_flops_per_s[rate] for rate in ("bf16", "fp16") if rate in device.matrix_flops_per_s]
    per_unit = (rates[0] if rates else device.vector_flops_per_s) / device.num_units
    return Gemm(wave_overhead=np.minimum(2e-6, 1e-6 * np.power(7.5e12 / np.maximum(per_unit, 1.0), 1.8)))
