"""Attention of one new token per sequence on a GPU: split along the keys (flash decoding), bound by the KV cache.

Legend: b sequences, L keys, s splits of the keys, group = query heads per key head; N the units.
"""

import numpy as np

from gambrel.cost.engines import parameters
from gambrel.cost.engines.parts import Parts, memory_seconds
from gambrel.cost.kernel import Array, Attention
from gambrel.cost.roofline import kernel_bytes, kernel_flops, matrix_rate
from gambrel.hardware.device import Device

SPLITS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
"""Splits of the keys that are tried; the fastest wins."""

KEY_STEP = 128.0
"""Keys that the matrix unit is padded to."""

PAGE = 16.0
"""Keys that a block reads at least."""

HEAD_TILE = 64.0
"""Query heads of one group that a block holds at most; larger groups take several blocks."""

MATRIX_ROWS = 16.0
"""Rows that a matrix instruction pads the query heads of a group to."""

MQA_GROUP = 32.0
"""Groups above this size run a kernel of their own, as multi-query and latent attention do."""


def attention_decode(kernel: Attention, device: Device) -> Parts:
    """Prices split-KV attention; parameters depend on the group size: `mha` (1), `gqa` (to 32), `mqa` (above).

    ```
    blocks = b h_kv ceil(group/64)      W = max(blocks s/N, 1)      Lr = 16 ceil(L/(16 s))      Lm = 128 ceil(L/(128 s))
    T = launch + min over s of
        [max(M(KV), W (Lr 2 elements_per_key/block_rate + block_overhead), W 2 (d + dv) heads16 Lm/(e_c F/N))
         + [s>1] split_overhead]
    ```
    heads16 are the query heads of a block padded to 16; elements_per_key are those of one key head, at two bytes as
    a block widens narrow formats as it reads. Keys and values come from device memory: the cache of a batch exceeds the
    last-level cache, and measuring loops show no reuse either.

    Does not count: pages that are not full, unequal lengths within the batch, the combine step's traffic.

    Source: T. Dao, D. Haziza, F. Massa, G. Sizov, "Flash-Decoding for long-context inference", 2023; parameters are
    fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: No rate for the kernel's number format.
    """
    group = np.maximum(np.asarray(kernel.heads) / np.maximum(kernel.kv_heads, 1e-9), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.all(group <= 1.0):
            return _split(kernel, device, group, "mha")
        if np.all((group > 1.0) & (group <= MQA_GROUP)):
            return _split(kernel, device, group, "gqa")
        if np.all(group > MQA_GROUP):
            return _split(kernel, device, group, "mqa")
        mha, gqa, mqa = (_split(kernel, device, group, name) for name in ("mha", "gqa", "mqa"))
        pick = [
            np.where(group <= 1.0, x, np.where(group <= MQA_GROUP, y, z)) for x, y, z in zip(mha, gqa, mqa, strict=True)
        ]
        return Parts(*pick)


def _split(kernel: Attention, device: Device, group: Array, variant: str) -> Parts:
    """Least time over the splits, with the parameters of one group class."""
    variants = parameters.attention_variants(variant, kernel)
    p = parameters.resolve(parameters.Decode(), device, "attention_decode", variants, kernel.library)
    flops = p.compute_efficiency * matrix_rate(device, kernel.rate) / device.num_units
    bandwidth = p.memory_efficiency * device.memory_bandwidth_bytes_per_s
    stream = memory_seconds(kernel_bytes(kernel), 0.0, bandwidth, p.memory_ramp, 1.0)

    head_tiles = np.ceil(group / HEAD_TILE)
    blocks = kernel.batch * kernel.kv_heads * head_tiles
    rows = MATRIX_ROWS * np.ceil(group / head_tiles / MATRIX_ROWS)
    keys = np.maximum(kernel.batch * kernel.kv_heads * kernel.kv_len, 1.0)
    per_key = 2.0 * kernel.kv_bytes_total / kernel.kv_bytes / keys / p.block_bytes_per_s
    math = 2.0 * (kernel.head_dim + kernel.v_head_dim) * rows / flops
    best = np.asarray(np.inf)
    for s in SPLITS:
        read = PAGE * np.ceil(kernel.kv_len / (PAGE * s))
        padded = KEY_STEP * np.ceil(kernel.kv_len / (KEY_STEP * s))
        rounds = np.maximum(blocks * s / device.num_units, 1.0)
        block = np.maximum(read * per_key + p.block_overhead, padded * math)
        best = np.minimum(best, np.maximum(stream, rounds * block) + (p.split_overhead if s > 1 else 0.0))
    compute = kernel_flops(kernel) / (flops * device.num_units)
    return Parts(p.launch + best, compute=compute, memory=stream, latency=p.launch)
