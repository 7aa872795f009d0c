"""What the `gpu` engine takes for number formats, kernel classes and libraries where a profile does not say.

That of attention stands in `gambrel.cost.engines.attention_defaults`, that of collectives, which depends on the link,
in `gambrel.cost.engines.collective_defaults`.
"""

from collections.abc import Mapping

from gambrel.cost.engines.attention_defaults import ATTENTION
from gambrel.hardware.device import Number

NO_SPLIT = {"split_overhead": 30e-6}
"""Products whose kernels do not split k: a split costs more than it can save."""

FORMAT_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "gemm_fp8": {
        "launch": 1.0e-6,
        "compute_efficiency": 0.69,
        "load_bytes_per_clock_per_unit": 205.0,
        "slice_latency": 0.03e-6,
        "quantize_launch": 3.2e-6,
    },
    "gemm_fp8_block": {"quantize_row_time": 0.06e-6, **NO_SPLIT},
    "gemm_nvfp4": {
        "compute_efficiency": 0.65,
        "load_bytes_per_clock_per_unit": 205.0,
        "slice_latency": 0.06e-6,
        "quantize_launch": 4.5e-6,
        "quantize_row_time": 0.08e-6,
        "quantize_per_clock_per_unit": 12.0,
        **NO_SPLIT,
    },
}
"""What kernels of a number format have where neither the library nor the device's profile says. Source: between the
values that were fitted on Hopper, Blackwell and Ada."""

FEW_LAUNCHES = {"launch": 2.0e-6}
"""Experts' products whose call is a few kernels: sorting, activation and quantising are fused with the products."""

WRITES_ZEROS = {"foreign_passes": 1.3}
"""Triton's expert products in vLLM and SGLang: the blocks of pairs that other devices multiply write zeros, which the
activation and the sum read.

Source: vLLM, vllm/model_executor/layers/fused_moe/fused_moe.py, `write_zeros_to_output`.
"""

LIBRARY_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "gemm_fp8@vllm": {"quantize_row_time": 1.0e-6, "tile_search": 0.0},
    "gemm_fp8@sglang": {"quantize_row_time": 0.04e-6, "split_overhead": 8e-6},
    "gemm_fp8@trtllm": {"quantize_row_time": 0.015e-6},
    "gemm_nvfp4@sglang": {"quantize_launch": 3.0e-6},
    "gemm_fp8_block@vllm-eager": {"issue_floor": 120e-6},
    "gemm_fp8_block@vllm-cutlass-eager": {"issue_floor": 165e-6},
    "gemm_fp8_block@vllm-deepgemm-eager": {"issue_floor": 120e-6},
    "gemm_fp8_block@vllm-flashinfer-eager": {"issue_floor": 58e-6},
    "gemm_fp8_block@vllm-triton-eager": {"issue_floor": 300e-6},
    "grouped_gemm@vllm-triton": WRITES_ZEROS,
    "grouped_gemm@sglang-triton": WRITES_ZEROS,
    "grouped_gemm@vllm-wna16": WRITES_ZEROS,
    "grouped_gemm_fp8_block@trtllm": {"expert_time": 0.1e-6},
    "grouped_gemm@trtllm-trtllm": FEW_LAUNCHES,
    "grouped_gemm@vllm-trtllm": FEW_LAUNCHES,
    "grouped_gemm@sglang-trtllm": FEW_LAUNCHES,
    "grouped_gemm_fp8_w4@trtllm": {**FEW_LAUNCHES, "expert_time": 2e-9},
}
"""What a library's kernels have on any device whose profile does not say: how many kernels a call is, who quantises its
rows, whether k is split, and what a host takes to issue it are the software's. Source: near the mean over the
generations on which each was fitted."""

LIBRARIES: Mapping[str, Mapping[str, Number]] = {
    "scan_gdn@vllm-flashinfer": {"fused": 1.0},
}
"""What is known of a library's kernels on every device, where its profile does not say otherwise; that of collectives
depends on the link, see `gambrel.cost.engines.collective_defaults`.

Source: FlashInfer 0.3, the gated delta rule for Hopper and Blackwell: one kernel walks through the chunks.
"""

VARIANTS: dict[str, Mapping[str, float]] = {
    **ATTENTION,
    "gemm_fp32": {
        "wave_overhead": 0.65e-6,
        "compute_efficiency": 0.83,
        "load_bytes_per_clock_per_unit": 20.0,
        "cache_bytes_per_clock_per_unit": 5.0,
        "overlap_norm": 2.0,
        "wave_hardness": 0.5,
        "sustained_share": 0.92,
        "split_overhead": 5e-6,
        "least_tile": 32.0,
    },
    "gemm_fp32_batched": {
        "wave_overhead": 0.25e-6,
        "overlap_norm": 3.2,
        "wave_hardness": 0.7,
        "split_overhead": 35e-6,
        "least_tile": 72.0,
    },
    "memory_bound_activation": {
        "launch": 0.7e-6,
        "access_bytes_per_clock_per_unit": 20.0,
        "overlap_norm": 1.1,
    },
    "memory_bound_norm": {
        "launch": 1.7e-6,
        "second_pass": 1.4,
        "access_bytes_per_clock_per_unit": 19.0,
        "overlap_norm": 1.4,
        "row_time": 0.6e-6,
    },
    "memory_bound_softmax": {
        "second_pass": 2.5,
        "long_row": 1024.0,
        "rows_in_flight": 2.0,
        "rows_at_once": 16.0,
        "access_bytes_per_clock_per_unit": 40.0,
    },
    "memory_bound_embedding": {"access_bytes_per_clock_per_unit": 2.3},
}
"""What the `gpu` engine takes for a variant, in place of the family's values, where a profile does not say; of
attention also for libraries.

Source: those of attention, see `gambrel.cost.engines.attention_defaults`; others near the geometric means of fits on
half of the shape sites: fp32 products, which run on the vector units of most devices, on P100, V100, T4, A100 and H100
of NeuSight; activation, norm and embedding on A100, H100 and A40 of Vidur, whose kernels (vLLM's SwiGLU and RMS norm,
PyTorch's embedding) move one element an instruction; softmax on those of NeuSight, where a row of up to 1024 elements
stays in the registers of a block.
"""

RULES = frozenset(
    (
        *("tile_search", "fused", "packing", "window_skipped", "tile_queries"),
        *("split_waves", "most_splits", "split_search", "split_history", "split_always"),
        *("heads_per_block", "padded_heads", "window_apart"),
    )
)
"""Parameters that are rules of a library, not rates: a fit tries them or keeps them."""
