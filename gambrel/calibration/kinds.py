"""Kinds of attention kernels: rules by which a library splits keys and packs heads, each of which a fit tries."""

from collections.abc import Mapping

from gambrel.calibration.ops.common import SERVING
from gambrel.cost.engines.attention_defaults import PLAIN

Kind = Mapping[str, float]
"""The rules of one kind of kernel; other parameters are where a fit of it starts."""

FILLING = {**PLAIN, "split_search": 0.0}
"""Splits over idle units, faster or not: FlashInfer, TensorRT-LLM's kernels for Blackwell, FlashAttention 3."""

WIDE_TILE = {**FILLING, "padded_heads": 64.0, "compute_efficiency": 0.35}
"""The same in tiles of 64 query heads, as the matrix unit takes no fewer or as prompts have them: FlashAttention 2."""

SEARCHING = {**WIDE_TILE, "sequence_time": 12e-9}
"""The same where a block looks for its own sequence, 31 at a time: FlashAttention 3.

Source: FlashAttention, `hopper/tile_scheduler.hpp`, `VarlenDynamicPersistentTileScheduler`.
"""

CAPTURED = {**SEARCHING, "most_splits": 32.0}
"""FlashAttention 3 as vLLM captures it in a graph: at most 32 splits.

Source: vLLM, `VLLM_FLASH_ATTN_MAX_NUM_SPLITS_FOR_CUDA_GRAPH`.
"""

MULTI_BLOCK = {**FILLING, "split_waves": 8.0, "split_history": 1.0}
"""TensorRT-LLM's XQA kernels: up to eight rounds of blocks, counted over the whole cache, at most by its root.

Source: TensorRT-LLM, `computeMultiBlockCount`, `kTargetWaveFactor`.
"""

NARROW_TILE = {"padded_heads": 8.0, "compute_efficiency": 0.07}
"""Where keys, not query heads, fill the rows of the matrix unit."""

FEW_SPLITS = {**FILLING, "split_waves": 8.0, "most_splits": 16.0}
"""Up to sixteen splits, counted over the keys that are read."""

PER_HEAD = {**FILLING, "heads_per_block": 1.0}
"""TensorRT-LLM's masked multi-head attention: a block for each query head."""

PER_HEAD_SPLIT = {**PER_HEAD, "split_waves": 4.0}
"""The same with more splits."""

UNSPLIT = {**FILLING, "split_waves": 0.0}
"""Kernels that never split keys."""

SWAPPED = {**WIDE_TILE, "split_waves": 2.0, "window_apart": 1.0, "regroup_time": 5e-6}
"""FlashAttention 2 in vLLM: the heads of a group stand in as queries, but not under a window.

Source: FlashAttention, `mha_varlen_fwd` (`seqlenq_ngroups_swapped`).
"""

SWAPPED_FEW = {**SWAPPED, "padded_heads": 16.0, "compute_efficiency": 0.4}
"""The same as if tiles had sixteen rows, which is what Ada's times follow."""

WIDENING = {**FILLING, "widening_passes": 2.0}
"""Kernels of wide elements over a narrow latent cache, which another kernel widens first."""

_SHARED = {**FILLING, "split_waves": 8.0, "heads_per_block": 16.0}

TRITON = tuple(
    {**_SHARED, "most_splits": most, "split_always": always} for most in (8.0, 16.0) for always in (0.0, 1.0)
)
"""Triton kernels of SGLang and vLLM: sixteen heads a block, eight or sixteen splits, with or without keys.

Source: SGLang, `get_num_kv_splits_triton`, `--triton-attention-num-kv-splits`, the grid of `_decode_grouped_att_m_fwd`;
vLLM, `triton_unified_attention`.
"""

_FLASH = (PLAIN, FILLING, {**FILLING, **NARROW_TILE}, SEARCHING, {**FILLING, "split_waves": 2.0})

DECODE_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "trtllm": (
        PLAIN,
        FILLING,
        {**FILLING, **NARROW_TILE},
        MULTI_BLOCK,
        {**MULTI_BLOCK, **NARROW_TILE},
        FEW_SPLITS,
        {**FEW_SPLITS, **NARROW_TILE},
        PER_HEAD,
        PER_HEAD_SPLIT,
        UNSPLIT,
    ),
    "vllm": (PLAIN, CAPTURED, SWAPPED, SWAPPED_FEW, UNSPLIT),
    "sglang": _FLASH,
    "vllm-flashinfer": _FLASH,
    "sglang-flashinfer": _FLASH,
    "trtllm-flashinfer": _FLASH,
    "sglang-triton": (PLAIN, *TRITON),
    "vllm-triton": (PLAIN, *TRITON),
}
"""Kinds of decode kernels that a library may run on some device."""

PREFILL_KINDS: tuple[Kind, ...] = tuple(
    {"packing": packs, "window_skipped": skips} for packs in (1.0, 0.0) for skips in (1.0, 0.0)
)
"""Kinds of kernels for many new tokens."""

APPENDING = tuple(
    {"packing": packs, "window_skipped": 1.0, "append_block_time": 2.5e-6, "tile_queries": queries}
    for packs in (1.0, 0.0)
    for queries in (128.0, 64.0)
)
"""Kinds of vLLM, where each new token has a block that puts its keys and values into the cache; tiles of 64 queries are
those of FlashAttention 2 over a paged cache.

Source: vLLM, `reshape_and_cache_flash_kernel`.
"""


def kinds_of(family: str) -> tuple[Kind, ...]:
    """The kinds of kernels that a library may run for a family such as `attention_decode_gqa@vllm`; none for others."""
    name, _, library = family.partition("@")
    if library not in DECODE_KINDS or not name.startswith("attention"):
        return ()
    if name.startswith("attention_prefill"):
        return APPENDING if library == "vllm" else PREFILL_KINDS
    others = (WIDENING,) if name.endswith("mla_kv8") else TRITON if name.endswith("_d512") else ()
    return (*DECODE_KINDS[library], *(others if library in SERVING else ()))
