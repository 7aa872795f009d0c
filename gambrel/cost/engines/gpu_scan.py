"""Linear recurrences on a GPU: chunks of tokens by matrix products, or one step over the states."""

import numpy as np

from gambrel.cost.engines import parameters
from gambrel.cost.engines.parts import Parts
from gambrel.cost.kernel import Number, Scan
from gambrel.cost.roofline import kernel_bytes, matrix_rate
from gambrel.hardware.device import Device


def scan(kernel: Scan, device: Device) -> Parts:
    """Prices a recurrence by its matrix work, its traffic and the chain of its chunks; N the units.

    ```
    pad = C ceil(tokens/C)/tokens
    T   = launch + max(FLOPs pad alone/(e_c F), (bytes + (1 - fused) staged)/(e_m B), (1 - fused) chunks chunk_time)
    ```
    A fused kernel gives each stream (a head of a sequence) to one unit, which walks through its chunks, so few streams
    leave units idle: `alone = max(N/blocks, 1)` where fused, else 1. The chain is none where there is one new token.
    Parameters depend on the variant.

    Does not count: the wave that is not full, the inverse's serial steps inside a chunk, states that a measuring loop
    leaves in the cache.

    Source: S. Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024, section
    3.3 (the two forms of the chunked algorithm); parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    step = kernel.variant == "step"
    default = parameters.SCAN_STEP if step else parameters.Scan()
    p = parameters.resolve(default, device, "scan", kernel.variant, kernel.library)
    tokens = np.maximum(np.asarray(kernel.tokens, dtype=np.float64), 1.0)
    chunks = np.ceil(tokens / kernel.chunk)
    idle = np.maximum(device.num_units / np.maximum(kernel.blocks, 1.0), 1.0)
    alone = np.where(np.asarray(p.fused) > 0, idle, 1.0)
    padded = kernel.flops * chunks * kernel.chunk / tokens
    compute = padded * alone / (p.compute_efficiency * matrix_rate(device, kernel.rate))
    apart = 1.0 - p.fused
    moved = kernel_bytes(kernel) + apart * kernel.staged_bytes
    memory = moved / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s)
    chain: Number = 0.0 if step else apart * chunks * p.chunk_time
    seconds = p.launch + np.maximum(np.maximum(compute, memory), chain)
    return Parts(seconds, compute=compute, memory=memory, latency=p.launch + chain)
