"""Which parameter families price a kernel: the names under which a profile keeps its parameters and residuals."""

import numpy as np

from gambrel.cost.engines import Grade, parameter_grade
from gambrel.cost.engines.grouping import grouping
from gambrel.cost.engines.variants import attention_variants, format_variants, product_variants, stream_variants
from gambrel.cost.kernel import Attention, Convolution, Gemm, GroupedGemm, Kernel, MemoryBound, Scan, Transfer
from gambrel.cost.roofline import widest_link
from gambrel.hardware.device import Device


def families(kernel: Kernel, device: Device) -> tuple[str, ...]:
    """The families of a kernel, from the general to the specific.

    For example `gemm`, `gemm@vllm`, `gemm_fp8`, `gemm_fp8@vllm`: the order in which the engines look parameters up. A
    decode kernel is that of its first row, and a transfer that of its first row's widest link: callers give rows of one
    grouping, or of one layout.
    """
    stem, variants = _stem(kernel, device)
    library = getattr(kernel, "library", "")
    names: list[str] = []
    for name in (stem, *(f"{stem}_{variant}" for variant in variants)):
        names.append(name)
        if library:
            names.append(f"{name}@{library}")
    return tuple(names)


def family_stem(kernel: Kernel) -> str:
    """The family without variants; `collective` for a transfer over any link."""
    match kernel:
        case Gemm():
            return "gemm"
        case Convolution():
            return "convolution"
        case GroupedGemm():
            return "grouped_gemm"
        case Attention(decode=True):
            return "attention_decode"
        case Attention():
            return "attention_prefill"
        case Scan():
            return "scan"
        case MemoryBound():
            return "memory_bound"
        case Transfer():
            return "collective"


def _stem(kernel: Kernel, device: Device) -> tuple[str, tuple[str, ...]]:
    stem = family_stem(kernel)
    match kernel:
        case Gemm() if device.engine == "gpu":
            return stem, product_variants(kernel)
        case Gemm() | GroupedGemm():
            return stem, format_variants(kernel.rate, kernel.a_bytes, kernel.b_bytes)
        case Convolution():
            return stem, (kernel.rate,)
        case Attention(decode=True):
            return stem, attention_variants(_grouping(kernel), kernel)
        case Attention():
            return stem, attention_variants(kernel.rate, kernel)
        case Scan():
            return stem, (kernel.variant,)
        case MemoryBound():
            return stem, stream_variants(kernel.op)
        case Transfer():
            link = widest_link(kernel, device)
            return f"{stem}_{link.name if link else 'none'}", (kernel.op,)


def _grouping(kernel: Attention) -> str:
    heads, kv_heads = np.ravel(np.asarray(kernel.heads)), np.ravel(np.asarray(kernel.kv_heads))
    if not heads.size or not kv_heads.size:
        return "mha"
    group = float(heads[0]) / max(float(kv_heads[0]), 1.0)
    return grouping(group, kernel.library)


def grade_of(kernel: Kernel, device: Device) -> Grade:
    """How well the parameters that price a kernel are known: those of the most specific family that has any."""
    if device.engine == "roofline" and not isinstance(kernel, Transfer):
        return parameter_grade(device, "roofline")
    given = [name for name in families(kernel, device) if device.parameters.get(name)]
    if not given:
        return "datasheet"
    grades = [device.parameter_grades.get(name, "transferred") for name in given]
    return "calibrated" if "calibrated" in grades else "transferred"
