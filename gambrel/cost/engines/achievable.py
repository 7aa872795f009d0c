"""The `roofline` engine: roofline with achievable fractions and a launch, for devices without a model of their own."""

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.parts import Parts
from gambrel.cost.engines.variants import achievable_variants
from gambrel.cost.kernel import Attention, Convolution, Gemm, GroupedGemm, MemoryBound, Scan
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device


def achievable(kernel: Gemm | Convolution | GroupedGemm | Attention | Scan | MemoryBound, device: Device) -> Parts:
    """Prices a kernel at `launch + max(FLOPs/(e_c peak), bytes/(e_m bandwidth))`.

    The parameters are those of family `roofline`, variants by rate, by the memory-bound op, and for attention further
    ones by its phase (`achievable_variants`); a profile without them gets plain roofline. Does not count tiles, waves,
    padding or cache.

    Source: S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009, with measured ceilings (section 3).

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    streaming = isinstance(kernel, MemoryBound)
    p = lookup.resolve(parameters.Roofline(), device, "roofline", achievable_variants(kernel))
    # The achievable share of the matrix peak says nothing about the vector units.
    peak = device.vector_flops_per_s if streaming else p.compute_efficiency * matrix_rate(device, kernel.rate)
    compute = kernel_flops(kernel) / peak
    memory = kernel_bytes(kernel) / (p.memory_efficiency * device.memory_bandwidth_bytes_per_s)
    return Parts(p.launch + np.maximum(compute, memory), compute=compute, memory=memory, latency=p.launch)
