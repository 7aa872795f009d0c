"""Grouped matrix products (experts of a mixture) on a GPU: tiles per expert that was hit, one persistent kernel.

Legend: r rows per hit expert; (tm, tn) the tile; N the units.
"""

import numpy as np

from gambrel.cost.engines import parameters
from gambrel.cost.engines.parts import Parts, memory_seconds, p_norm
from gambrel.cost.kernel import GroupedGemm
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

TILES = ((16.0, 128.0), (32.0, 128.0), (64.0, 128.0), (128.0, 128.0), (128.0, 256.0), (64.0, 256.0), (16.0, 64.0))
"""Tiles (tm, tn) that are tried; the fastest wins."""


def grouped_gemm(kernel: GroupedGemm, device: Device) -> Parts:
    """Prices the products of all experts that were hit as one kernel.

    ```
    r = rows/hit      w = hit max(1, r/tm + (tm-1)/(2 tm)) ceil(n/tn)/N      W = h ceil(w) + (1-h) max(w, 1)
    Tc = W k 2 tm tn / (e_c F/N)      Tl = W k max((tm ba + tn bb)/load, slice_latency/64)
    T  = launch + min over tile of [(Tc^p + Tl^p + Td^p)^(1/p) + W wave_overhead]
    ```
    Td streams the hit experts' weights and the rows. The tile count is the mean of `sum over experts ceil(r_e/tm)` when
    r_e varies: a partial tile is half full on average. Weights narrower than the activations are widened as in `gemm`.

    Does not count: routing, gathering and combining rows (rows of their own), the busiest device's excess over the
    mean, weights that an earlier call left in the cache.

    Source: grouped scheduling: T. Gale et al., "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts", MLSys
    2023, section 5; parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    variants = parameters.format_variants(kernel.rate, kernel.a_bytes, kernel.b_bytes)
    p = parameters.resolve(parameters.GroupedGemm(), device, "grouped_gemm", variants, kernel.library)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    load_rate = p.load_bytes_per_clock_per_unit * device.clock_hz
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    stream = memory_seconds(kernel_bytes(kernel), 0.0, bandwidth, p.memory_ramp, 1.0)
    hit = np.minimum(kernel.hit_experts, np.maximum(kernel.rows, 1e-9))
    best = np.asarray(np.inf)
    for tm, tn in TILES:
        load = np.maximum((tm * kernel.a_bytes + tn * kernel.b_bytes) / load_rate, p.slice_latency / 64.0)
        if kernel.b_bytes < kernel.a_bytes * parameters.NARROW:
            load = np.maximum(load, tn / (p.unpack_per_clock_per_unit * device.clock_hz))
        step = p_norm(2.0 * tm * tn / flops, load, p.overlap_norm)
        per_column = np.maximum(hit, kernel.rows / tm + hit * (tm - 1.0) / (2.0 * tm))
        waves = per_column * np.ceil(kernel.n / tn) / device.num_units
        rounds = p.wave_hardness * np.ceil(waves) + (1.0 - p.wave_hardness) * np.maximum(waves, 1.0)
        best = np.minimum(best, p_norm(rounds * kernel.k * step, stream, p.overlap_norm) + rounds * p.wave_overhead)
    compute = kernel_flops(kernel) / (flops * device.num_units)
    return Parts(p.launch + best, compute=compute, memory=stream, latency=p.launch)
