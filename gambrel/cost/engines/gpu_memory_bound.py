"""Kernels whose time is their traffic, on a GPU: elementwise, norms, softmax, gathers, copies."""

from typing import NamedTuple

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import (
    COLD,
    Parts,
    Residency,
    cache_bytes_per_s,
    cached_share,
    issued,
    memory_seconds,
    p_norm,
)
from gambrel.cost.engines.variants import stream_variants
from gambrel.cost.kernel import MemoryBound, Number
from gambrel.cost.roofline import kernel_bytes
from gambrel.hardware.device import Device

BLOCK_A_ROW = ("norm", "softmax", "activation")
"""Operations whose kernels give each row to a block of its own, however few these are, or to a part of one.

Source: vLLM, csrc/layernorm_kernels.cu and csrc/activation_kernels.cu: `dim3 grid(num_tokens)`, up to 1024 threads.
"""

REDUCTIONS = ("norm", "softmax")
"""Operations that read a row again after reducing it."""


class Rates(NamedTuple):
    """Achievable bytes per second of the memory, of the cache and of the instructions of all units."""

    memory: Number
    cache: Number
    access: Number


def memory_bound(kernel: MemoryBound, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a streaming kernel: the traffic, the instructions that move it, rounds of rows, or arithmetic.

    ```
    stream  = M(bytes) + again (kept/B_cache + (1 - kept)/B)
    again   = [cols > long_row] second_pass x reduced bytes
    kept    = min(1, kept_share C/(N rows_in_flight x bytes of a reduced row))
    access  = (bytes + again)/B_access; a block a row: ceil(rows/(R N)) (row_time + R N row/B_access)
    T = launch + max(||stream, access||_p, FLOPs/(e_c vector peak))
    ```
    C is the last-level cache, N the units, row the bytes of one row without those that all rows share, M the memory
    path of `memory_seconds`. Of a call that the host issues by itself, `issued` gives the time.

    Does not count: uncoalesced access of gathers beyond the bytes that the caller gives, transcendental functions
    beyond the FLOPs that the caller gives, caches inside a unit.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009, with the ramp of `memory_seconds` and
    a ceiling for instructions (section 3 there); parameters are fitted, see docs/explanation/cost-model.md.
    """
    variants = stream_variants(kernel.op)
    p = lookup.resolve(parameters.MemoryBound(), device, "memory_bound", variants, kernel.library)
    rates = Rates(
        memory=p.memory_efficiency * device.memory_bandwidth_bytes_per_s,
        cache=cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit),
        access=cache_bytes_per_s(device, p.access_bytes_per_clock_per_unit),
    )
    moved = kernel_bytes(kernel)
    share: Number = 0.0
    if residency.activations_hot:
        share = cached_share(moved, p.cache_share * device.cache_bytes)
    stream = memory_seconds(moved * (1.0 - share), moved * share, rates.memory, p.memory_ramp, rates.cache)
    if kernel.op in REDUCTIONS:
        again, kept = _again(kernel, p, device)
        kept = np.maximum(kept, share)
        moved = moved + again
        stream = stream + again * (kept / rates.cache + (1.0 - kept) / rates.memory)
    access = moved / rates.access
    if kernel.op in BLOCK_A_ROW:
        at_once = p.rows_at_once * device.num_units
        rows = np.maximum(kernel.rows, 1.0)
        row = np.maximum(moved - kernel.shared_bytes, 0.0) / rows
        access = np.ceil(rows / at_once) * (p.row_time + at_once * row / rates.access)
    stream = p_norm(stream, access, p.overlap_norm)
    compute = kernel.flops / (p.compute_efficiency * device.vector_flops_per_s)
    seconds = p.launch + np.maximum(stream, compute)
    seconds = issued(seconds, kernel.host_work, p.host_call, p.host_lead)
    return Parts(seconds, compute=compute, memory=stream, latency=np.maximum(p.launch, kernel.host_work * p.host_call))


def _again(kernel: MemoryBound, p: parameters.MemoryBound, device: Device) -> tuple[Number, Number]:
    """Bytes that a reduction reads again, and the share of them that the cache still has."""
    reduced = kernel.bytes_read if kernel.reduced_bytes is None else kernel.reduced_bytes
    again = np.where(np.asarray(kernel.cols) > p.long_row, p.second_pass * reduced, 0.0)
    row_bytes = reduced / np.maximum(kernel.rows, 1.0)
    in_flight = device.num_units * p.rows_in_flight * row_bytes
    return again, np.minimum(p.kept_share * device.cache_bytes / np.maximum(in_flight, 1.0), 1.0)
