"""Linear recurrences on a GPU: chunks of tokens by matrix products, one step over the states, short convolutions."""

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import COLD, Parts, Residency, cache_bytes_per_s, looped_share, memory_seconds
from gambrel.cost.kernel import Number, Scan
from gambrel.cost.roofline import kernel_bytes, matrix_rate
from gambrel.hardware.device import Device

SWEEPS = ("step", "conv", "conv_step")
"""Variants that have no chain of chunks."""

STAGED_USES = 3.0
"""Times that the kernels of the unfused form write or read what they hand to each other."""

CONVOLUTIONS = ("conv", "conv_step")
"""Variants that run on the vector units."""


def scan(kernel: Scan, device: Device, residency: Residency = COLD) -> Parts:
    """Prices a recurrence by its matrix work, its traffic and the chain of its chunks; N the units.

    ```
    pad = C ceil(tokens/C)/tokens
    T   = launch + (1 - fused) min(tokens/C, 1) inverse_time
          + max(FLOPs pad alone/(e_c F), cold/(e_m B) + hot/B_cache, (1 - fused) chunks chunk_time)
    cold + hot = bytes + (1 - fused) staged
    ```
    A fused kernel gives each stream (a head of a sequence) to one unit, which walks through its chunks, so that streams
    come in waves, of which the last may leave units idle: `alone = N ceil(blocks/N)/blocks` where fused, else 1. One
    new token has no chain and no inverse. Neither has a convolution, and its F is the peak of the vector units: a
    block takes C tokens of a channel, also where there are fewer. Parameters depend on the variant.

    Staged bytes are hot where what the kernels hand to each other fits the cache: each of them is written and read
    STAGED_USES times in all. Operands and results are hot where a measuring loop left them there; states that are
    replaced in place are there once.

    Does not count: unequal lengths within the batch.

    Source: S. Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024, section
    3.3 (the two forms of the chunked algorithm); parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    default = parameters.SCANS.get(kernel.variant, parameters.Scan())
    p = lookup.resolve(default, device, "scan", kernel.variant, kernel.library)
    tokens = np.maximum(np.asarray(kernel.tokens, dtype=np.float64), 1.0)
    chunks = np.ceil(tokens / kernel.chunk)
    blocks = np.maximum(np.asarray(kernel.blocks, dtype=np.float64), 1.0)
    alone = np.where(np.asarray(p.fused) > 0, device.num_units * np.ceil(blocks / device.num_units) / blocks, 1.0)
    padded = kernel.flops * chunks * kernel.chunk / tokens
    peak = device.vector_flops_per_s if kernel.variant in CONVOLUTIONS else matrix_rate(device, kernel.rate)
    compute = padded * alone / (p.compute_efficiency * peak)
    apart = 1.0 - p.fused
    memory, share = _memory(kernel, device, p, apart * kernel.staged_bytes, residency)
    chain: Number = 0.0
    start = p.launch
    if kernel.variant not in SWEEPS:
        chain = apart * chunks * p.chunk_time
        start = start + apart * np.minimum(tokens / kernel.chunk, 1.0) * p.inverse_time
    seconds = start + np.maximum(np.maximum(compute, memory), chain)
    return Parts(seconds, compute=compute, memory=memory, latency=start + chain, cached=share)


def _memory(
    kernel: Scan, device: Device, p: parameters.Scan, staged: Number, residency: Residency
) -> tuple[Number, Number]:
    """Seconds of the traffic, and the share of operands and results that a loop left in the cache."""
    moved, cache = kernel_bytes(kernel), p.cache_share * device.cache_bytes
    hot = staged * looped_share(staged / STAGED_USES, cache)
    share: Number = 0.0
    if residency.activations_hot:
        share = looped_share(moved - kernel.in_place_bytes + staged / STAGED_USES, cache)
    hot = hot + moved * share
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    rate = cache_bytes_per_s(device, p.cache_bytes_per_clock_per_unit)
    return memory_seconds(moved + staged - hot, hot, bandwidth, 0.0, rate), share
