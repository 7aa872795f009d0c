"""What the engine takes for kernels of attention on a device that nothing is known of: by variant and library.

Source: one fit of each set on A100 SXM, H200 SXM, B200 SXM and L40S together, on half of the shape sites of
aiconfigurator 0.12.0, each device with the same weight; two digits. A library is only there where its own set predicts
these devices better than that of no library does, see docs/explanation/cost-model.md.
"""

from collections.abc import Iterator, Mapping

Row = tuple[float, ...]

DECODE_COLUMNS = (
    ("launch", 1e-6),
    ("memory_efficiency", 1.0),
    ("memory_ramp", 1e-6),
    ("cache_bytes_per_clock_per_unit", 1.0),
    ("cache_share", 1.0),
    ("block_bytes_per_s", 1e9),
    ("block_overhead", 1e-6),
    ("split_overhead", 1e-6),
    ("split_time", 1e-6),
    ("compute_efficiency", 1.0),
    ("result_elements_per_clock_per_unit", 1.0),
    ("cut_tiles", 1.0),
    ("sequence_time", 1e-09),
)
"""Columns of DECODE and their units: us, GB/s, ns.

Rows of 30 result elements a clock were fitted without that term, with which they predicted no better: it takes next to
nothing there.
"""

DECODE: Mapping[str, Row] = {
    "mha": (9.3, 0.81, 11.0, 79.0, 0.69, 229.0, 1.2, 5.8, 0.024, 0.19, 30.0, 1.0, 0.0),
    "mla": (4.1, 0.71, 7.1, 170.0, 0.57, 66.0, 0.54, 4.7, 0.081, 0.52, 4.8, 1.0, 0.0),
    "gqa@sglang": (7.4, 0.95, 3.1, 38.0, 0.71, 76.0, 0.43, 2.6, 0.046, 0.25, 160.0, 0.37, 3.3),
    "gqa@sglang-flashinfer": (4.0, 0.84, 3.9, 9.7, 0.9, 43.0, 0.41, 3.4, 0.022, 0.59, 3.9, 1.0, 0.0),
    "gqa@sglang-triton": (4.6, 0.67, 30.0, 9.2, 1.0, 45.0, 0.029, 0.38, 0.58, 0.091, 23.0, 0.22, 0.0),
    "gqa@trtllm-flashinfer": (6.4, 0.95, 4.6, 41.0, 0.58, 120.0, 0.74, 0.69, 0.12, 0.08, 1.1, 1.2, 0.0),
    "gqa@vllm-flashinfer": (4.9, 0.95, 3.3, 44.0, 0.64, 97.0, 0.87, 1.0, 0.11, 0.079, 3.7, 0.78, 0.0),
    "mha@sglang": (8.7, 0.95, 9.6, 59.0, 0.97, 260.0, 0.36, 8.9, 0.025, 0.27, 58.0, 1.0, 0.0),
    "mha@sglang-flashinfer": (4.6, 0.83, 3.5, 14.0, 0.82, 130.0, 0.027, 5.0, 0.052, 0.84, 23.0, 1.3, 0.0),
    "mha@trtllm": (8.6, 0.84, 3.3, 21.0, 1.0, 105.0, 0.88, 2.1, 0.054, 0.7, 30.0, 1.0, 0.0),
    "mha@vllm-flashinfer": (4.5, 0.95, 2.9, 66.0, 0.75, 174.0, 1.2, 0.84, 0.03, 0.3, 30.0, 1.0, 0.0),
    "mla@sglang": (3.9, 0.86, 25.0, 54.0, 0.61, 61.0, 2.9, 3.2, 0.06, 0.61, 7.4, 1.0, 0.0),
    "mla@sglang-triton": (13.0, 0.81, 20.0, 6.4, 0.0091, 84.0, 0.16, 0.25, 0.026, 1.0, 1.2, 1.0, 0.0),
    "mqa@sglang": (8.6, 0.89, 2.6, 58.0, 1.0, 92.0, 0.97, 5.7, 0.036, 0.29, 24.0, 1.0, 0.0),
    "mqa@trtllm": (8.5, 0.84, 2.9, 20.0, 0.77, 93.0, 0.24, 9.8, 0.07, 0.57, 1.8, 1.0, 0.0),
    "mqa@vllm": (6.6, 0.63, 3.5, 4.9, 0.19, 130.0, 0.85, 0.98, 0.55, 0.6, 1.9, 2.0, 0.0),
    "gqa_kv8@sglang": (13.0, 0.91, 5.2, 32.0, 0.6, 98.0, 1.5, 0.85, 0.079, 0.095, 30.0, 1.0, 0.0),
    "gqa_kv8@sglang-flashinfer": (6.8, 0.82, 4.9, 5.7, 0.87, 33.0, 0.49, 2.5, 0.027, 0.17, 1.1, 1.0, 0.0),
    "gqa_kv8@trtllm": (7.4, 0.81, 6.1, 30.0, 0.59, 87.0, 0.94, 0.23, 0.34, 0.16, 30.0, 1.0, 0.0),
    "gqa_kv8@trtllm-flashinfer": (11.0, 0.95, 7.9, 37.0, 0.55, 140.0, 0.34, 0.65, 0.056, 0.08, 2.0, 1.2, 0.0),
    "gqa_kv8@vllm": (8.8, 0.9, 5.1, 41.0, 0.56, 113.0, 1.0, 0.93, 0.094, 0.066, 30.0, 1.0, 0.0),
    "gqa_kv8@vllm-flashinfer": (6.7, 0.81, 2.5, 50.0, 0.93, 153.0, 0.88, 0.5, 0.061, 0.16, 30.0, 1.0, 0.0),
    "gqa_kv8@vllm-triton": (6.6, 0.82, 4.0, 29.0, 0.99, 32.0, 0.13, 3.5, 0.065, 0.31, 4.4, 0.73, 0.0),
    "mha_kv8@sglang": (13.0, 0.91, 6.9, 39.0, 0.76, 99.0, 0.28, 0.8, 0.025, 0.088, 2.5, 1.0, 0.0),
    "mha_kv8@sglang-flashinfer": (5.9, 0.81, 3.4, 13.0, 0.85, 33.0, 0.92, 3.2, 0.03, 0.51, 30.0, 1.0, 0.0),
    "mha_kv8@trtllm": (9.5, 0.74, 1.8, 74.0, 0.15, 198.0, 0.99, 4.3, 0.03, 0.21, 30.0, 1.0, 0.0),
    "mha_kv8@vllm-flashinfer": (5.3, 0.84, 2.7, 72.0, 0.88, 150.0, 0.47, 0.29, 0.033, 0.13, 6.6, 1.0, 0.0),
    "mqa_kv8@sglang": (11.0, 0.85, 2.8, 19.0, 0.94, 75.0, 1.9, 2.3, 0.042, 0.48, 3.4, 1.0, 0.0),
    "mqa_kv8@vllm": (8.4, 0.95, 2.4, 63.0, 0.95, 69.0, 1.4, 2.8, 0.076, 0.19, 30.0, 1.0, 0.0),
}
"""Variants of `attention_decode`; a library after the `@`."""

PLAIN = {
    "split_waves": 1.0,
    "most_splits": 128.0,
    "split_search": 1.0,
    "split_history": 0.0,
    "split_always": 0.0,
    "heads_per_block": 64.0,
    "padded_heads": 16.0,
    "window_apart": 0.0,
}
"""Rules of decode attention of no library in particular: keys are split over idle units where that is faster."""

DECODE_RULES: Mapping[str, Mapping[str, float]] = {
    "gqa@sglang": {"padded_heads": 64.0},
    "gqa@sglang-flashinfer": {"split_search": 0.0},
    "gqa@sglang-triton": {
        "split_waves": 8.0,
        "most_splits": 8.0,
        "split_search": 0.0,
        "heads_per_block": 16.0,
        "padded_heads": 8.0,
    },
    "gqa@trtllm-flashinfer": {"padded_heads": 8.0},
    "gqa@vllm-flashinfer": {"padded_heads": 8.0},
    "mha@sglang": {"padded_heads": 64.0},
    "mha@sglang-flashinfer": {"split_search": 0.0},
    "mha@trtllm": {"split_waves": 8.0, "split_search": 0.0, "split_history": 1.0},
    "mla@sglang-triton": {"split_waves": 8.0, "most_splits": 16.0, "split_search": 0.0, "heads_per_block": 16.0},
    "mqa@sglang": {"split_search": 0.0},
    "mqa@trtllm": {"split_search": 0.0, "heads_per_block": 1.0},
    "mqa@vllm": {"padded_heads": 64.0},
    "gqa_kv8@sglang-flashinfer": {"split_waves": 2.0, "split_search": 0.0, "padded_heads": 8.0},
    "gqa_kv8@trtllm-flashinfer": {"padded_heads": 8.0},
    "gqa_kv8@vllm-flashinfer": {"split_search": 0.0},
    "gqa_kv8@vllm-triton": {"split_waves": 8.0, "most_splits": 8.0, "split_search": 0.0, "heads_per_block": 16.0},
    "mha_kv8@sglang-flashinfer": {"split_search": 0.0},
    "mha_kv8@vllm-flashinfer": {"split_waves": 2.0, "split_search": 0.0},
    "mqa_kv8@sglang": {"padded_heads": 64.0},
}
"""How their libraries split keys and share blocks, where not as PLAIN says."""

PREFILL_COLUMNS = (
    ("launch", 1e-6),
    ("tile_overhead", 1e-6),
    ("compute_efficiency", 1.0),
    ("memory_efficiency", 1.0),
    ("exponentials_per_clock_per_unit", 1.0),
    ("cache_bytes_per_clock_per_unit", 1.0),
    ("cache_share", 1.0),
    ("mask_keys", 1.0),
    ("prologue_passes", 1.0),
    ("append_passes", 1.0),
    ("tail_share", 1.0),
    ("append_block_time", 1e-06),
)
"""Columns of PREFILL and their units: us."""

PREFILL: Mapping[str, Row] = {
    "fp8": (12.0, 2.9, 0.46, 0.95, 13.0, 18.0, 0.5, 410.0, 1.5, 1.3, 0.75, 0.0),
    "bf16_full": (5.6, 4.2, 0.52, 0.67, 15.0, 14.0, 0.59, 6.1, 1.2, 1.8, 0.5, 0.0),
    "bf16_mla": (12.0, 2.6, 0.63, 0.95, 31.0, 14.0, 0.64, 470.0, 0.68, 0.73, 0.5, 0.0),
    "@sglang": (8.4, 3.1, 0.69, 0.6, 16.0, 8.9, 0.37, 88.0, 0.19, 0.71, 0.65, 0.0),
    "@sglang-flashinfer": (2.9, 2.2, 0.66, 0.87, 8.2, 7.8, 0.96, 342.0, 0.23, 1.1, 0.5, 0.0),
    "@sglang-triton": (8.9, 2.5, 0.56, 0.95, 1.6, 37.0, 0.98, 3170.0, 0.12, 9.3, 0.5, 0.0),
    "@trtllm": (11.0, 2.7, 0.56, 0.83, 11.0, 14.0, 0.96, 209.0, 1.9, 1.2, 0.5, 0.0),
    "@trtllm-flashinfer": (5.6, 5.0, 0.49, 0.9, 15.0, 31.0, 0.55, 62.0, 1.3, 0.23, 0.5, 0.0),
    "@vllm": (9.3, 1.7, 0.6, 0.95, 17.0, 16.0, 0.82, 110.0, 0.26, 2.2, 0.54, 1.6),
    "@vllm-flashinfer": (6.2, 2.5, 0.64, 0.9, 13.0, 36.0, 0.93, 70.0, 0.74, 0.024, 0.5, 0.0),
    "fp8@sglang": (13.0, 1.8, 0.52, 0.87, 11.0, 16.0, 1.0, 229.0, 1.5, 0.77, 0.5, 0.0),
    "fp8@sglang-triton": (6.5, 1.8, 0.95, 0.94, 2.7, 29.0, 1.0, 9300.0, 0.076, 14.0, 0.33, 0.0),
    "bf16_full@sglang": (5.7, 4.1, 0.64, 0.76, 13.0, 17.0, 0.67, 74.0, 0.47, 1.2, 0.5, 0.0),
    "bf16_full@sglang-triton": (2.3, 0.88, 0.23, 0.61, 14.0, 4.9, 0.64, 92.0, 1.1, 1.4, 0.5, 0.0),
    "bf16_full@trtllm": (9.5, 3.6, 0.45, 0.77, 14.0, 14.0, 0.83, 6.0, 2.3, 1.2, 0.5, 0.0),
    "bf16_full@vllm": (4.2, 4.4, 0.67, 0.72, 13.0, 6.1, 0.75, 8.2, 0.5, 1.8, 0.5, 0.0),
    "bf16_kv8@trtllm": (12.0, 2.7, 0.75, 0.95, 13.0, 17.0, 0.64, 356.0, 2.1, 0.94, 0.5, 0.0),
    "bf16_kv8@trtllm-flashinfer": (10.0, 3.8, 1.0, 0.9, 16.0, 26.0, 0.58, 102.0, 3.3, 0.51, 0.5, 0.0),
    "bf16_kv8@vllm": (12.0, 1.1, 0.69, 0.73, 15.0, 24.0, 0.66, 32.0, 1.8, 5.6, 0.55, 3.5),
    "bf16_kv8@vllm-flashinfer": (6.5, 2.3, 0.49, 0.87, 43.0, 37.0, 0.69, 54.0, 0.22, 0.77, 0.5, 0.0),
    "bf16_kv8@vllm-triton": (0.71, 0.68, 0.7, 0.93, 0.5, 4.7, 0.8, 66.0, 0.59, 1.9, 0.5, 0.0),
    "bf16_mla@sglang-triton": (2.7, 0.093, 0.39, 0.85, 0.23, 3.2, 0.51, 35200.0, 0.71, 0.83, 0.5, 0.0),
    "bf16_mla@trtllm": (12.0, 2.6, 0.69, 0.85, 13.0, 15.0, 0.85, 562.0, 0.45, 0.41, 0.5, 0.0),
    "bf16_mla_kv8@sglang": (18.0, 0.52, 0.44, 0.9, 27.0, 23.0, 0.18, 4580.0, 0.84, 2.2, 0.5, 0.0),
    "bf16_mla_kv8@trtllm": (14.0, 2.9, 0.75, 0.95, 15.0, 15.0, 1.0, 719.0, 0.51, 0.89, 0.5, 0.0),
}
"""Variants of `attention_prefill`; a library after the `@`."""

UNPACKED = {"packing": 0.0, "window_skipped": 1.0, "tile_queries": 128.0}
"""Rules of prefill attention of no library in particular."""

PREFILL_RULES: Mapping[str, Mapping[str, float]] = {
    "bf16_mla": {"packing": 1.0},
    "@sglang": {"packing": 1.0},
    "@sglang-flashinfer": {"packing": 1.0, "window_skipped": 0.0},
    "@vllm": {"tile_queries": 64.0},
    "bf16_full@sglang": {"packing": 1.0},
    "bf16_full@sglang-triton": {"window_skipped": 0.0},
    "bf16_kv8@vllm-triton": {"packing": 1.0},
    "bf16_mla@sglang-triton": {"packing": 1.0, "window_skipped": 0.0},
    "bf16_mla@trtllm": {"packing": 1.0},
    "bf16_mla_kv8@sglang": {"packing": 1.0},
    "bf16_mla_kv8@trtllm": {"packing": 1.0},
}
"""Whether their libraries pack heads and skip what a window hides, where not as UNPACKED says."""


def _sets() -> Iterator[tuple[str, dict[str, float]]]:
    tables = (
        ("attention_decode", DECODE_COLUMNS, DECODE, PLAIN, DECODE_RULES),
        ("attention_prefill", PREFILL_COLUMNS, PREFILL, UNPACKED, PREFILL_RULES),
    )
    for family, columns, rows, plain, rules in tables:
        for name, row in rows.items():
            key = f"{family}{name}" if name.startswith("@") else f"{family}_{name}"
            rates = {column: value * unit for (column, unit), value in zip(columns, row, strict=True)}
            yield key, {**rates, **plain, **rules.get(name, {})}


ATTENTION: Mapping[str, Mapping[str, float]] = dict(_sets())
"""Parameters in place of the family's, SI units, by family, variant and library: `attention_decode_gqa@sglang`."""
