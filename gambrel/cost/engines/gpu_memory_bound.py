"""Kernels whose time is their traffic, on a GPU: elementwise, norms, softmax, gathers, copies."""

import numpy as np

from gambrel.cost.engines import parameters
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, cached_share, memory_seconds
from gambrel.cost.kernel import MemoryBound, Number
from gambrel.cost.roofline import kernel_bytes
from gambrel.hardware.device import Device

ROWS_IN_FLIGHT = 16.0
"""Rows that one unit works on at a time."""

REDUCTIONS = ("norm", "softmax")
"""Operations that read a long row again after reducing it."""


def memory_bound(kernel: MemoryBound, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a streaming kernel: `launch + max(M(bytes) + pass, rows/(16 N) rounds, FLOPs/vector peak)`.

    The pass is `second_pass` readings of the reduced tensor for reductions over rows longer than `long_row`, and
    `ceil(rows/(16 N)) row_time` is the latency of reducing rows one after another.

    Does not count: uncoalesced access of gathers beyond the bytes that the caller gives, transcendental functions
    beyond the FLOPs that the caller gives.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009, with the ramp of `memory_seconds`;
    parameters are fitted, see docs/explanation/cost-model.md.
    """
    p = parameters.resolve(parameters.MemoryBound(), device, "memory_bound", kernel.op)
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    cache = cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit)
    moved = kernel_bytes(kernel)
    share: Number = 0.0
    if residency.activations_hot:
        share = cached_share(moved, p.cache_share * device.cache_bytes)
    stream = memory_seconds(moved * (1.0 - share), moved * share, bandwidth, p.memory_ramp, cache)
    rows: Number = 0.0
    if kernel.op in REDUCTIONS:
        reduced = kernel.bytes_read if kernel.reduced_bytes is None else kernel.reduced_bytes
        again = np.where(np.asarray(kernel.cols) > p.long_row, p.second_pass * reduced, 0.0)
        stream = stream + again * ((1.0 - share) / bandwidth + share / cache)
        rows = np.ceil(kernel.rows / (ROWS_IN_FLIGHT * device.num_units)) * p.row_time
    compute = kernel.flops / device.vector_flops_per_s
    seconds = p.launch + np.maximum(np.maximum(stream, rows), compute)
    return Parts(seconds, compute=compute, memory=stream, latency=p.launch)
