"""Names of a kernel's variants, under which profiles and tables of defaults keep parameters: the specific last."""

import numpy as np

from gambrel.cost.engines.grouping import GROUPINGS
from gambrel.cost.kernel import Attention, Convolution, Gemm, GroupedGemm, MemoryBound, Scan

NARROW = 0.75
"""Weights of less than this share of the activations' width are widened before they are multiplied."""


def format_variants(rate: str, a_bytes: float, b_bytes: float) -> tuple[str, ...]:
    """Variants of a product's number format, the specific last: `fp8`, `fp8_block`; `bf16`, `bf16_w4`.

    Operands of a fractional width carry a scale per block; weights narrower than the activations are widened in the
    kernel (`_w4`: four bits).
    """
    names = [rate]
    if rate == "fp8" and a_bytes > 1.0:
        names.append("fp8_block")
    if b_bytes < NARROW * a_bytes:
        names.append(f"{rate}_w{int(8 * b_bytes)}")
    return tuple(names)


def product_variants(kernel: Gemm) -> tuple[str, ...]:
    """Variants of a product, the specific last: those of its format, and `fp32_batched` for several products."""
    names = format_variants(kernel.rate, kernel.a_bytes, kernel.b_bytes)
    return (*names, f"{names[-1]}_batched") if np.all(np.asarray(kernel.batch) > 1.0) else names


def stream_variants(op: str) -> tuple[str, ...]:
    """Variants of a memory-bound op, the specific last: an activation is elementwise too."""
    return ("elementwise", op) if op == "activation" else (op,)


def achievable_variants(
    kernel: Gemm | Convolution | GroupedGemm | Attention | Scan | MemoryBound,
) -> tuple[str, ...]:
    """Variants of family `roofline`, the specific last: `bf16`; `bf16`, `attention_decode`; `elementwise`, `copy`."""
    if isinstance(kernel, MemoryBound):
        return stream_variants(kernel.op)
    if isinstance(kernel, Attention):
        return (kernel.rate, "attention_decode" if kernel.decode else "attention_prefill")
    return (kernel.rate,)


def attention_variants(variant: str, kernel: Attention) -> tuple[str, ...]:
    """A variant of attention and more specific ones: `gqa`, `gqa_kv8` for a cache narrower than its queries, `mla`.

    Latent attention (`mla`, `mla_kv8`) has values narrower than its keys; an encoder (`bf16_full`) masks nothing.
    """
    names = [variant]
    if np.all(np.asarray(kernel.v_head_dim) < kernel.head_dim):
        # Latent decode kernels share no rules with those that share key heads.
        names = [] if variant in GROUPINGS else names
        variant = "_".join((*names, "mla"))
        names.append(variant)
    if kernel.kv_bytes < kernel.q_bytes:
        names.append(f"{variant}_kv{int(8 * kernel.kv_bytes)}")
    if not kernel.masked:
        names.append(f"{variant}_full")
    return tuple(names)


def sized_variants(variant: str, kernel: Attention) -> tuple[str, ...]:
    """Each of `attention_variants`, then the same for the head size, which a library may pad or tile differently.

    For example `gqa`, `gqa_d192`, `gqa_kv8`, `gqa_kv8_d192`.
    """
    size = f"_d{int(kernel.head_dim)}"
    return tuple(name for each in attention_variants(variant, kernel) for name in (each, each + size))
