"""Engines price kernels on devices; `price` picks the one that the device's profile names."""

from typing import assert_never

from gambrel.cost.engines import cpu as host
from gambrel.cost.engines import gpu_convolution
from gambrel.cost.engines.achievable import achievable
from gambrel.cost.engines.collective import collective
from gambrel.cost.engines.gpu_attention_decode import attention_decode
from gambrel.cost.engines.gpu_attention_prefill import attention_prefill
from gambrel.cost.engines.gpu_gemm import gemm
from gambrel.cost.engines.gpu_grouped_gemm import grouped_gemm, loop_device
from gambrel.cost.engines.gpu_memory_bound import memory_bound
from gambrel.cost.engines.gpu_scan import scan
from gambrel.cost.engines.lookup import Grade, parameter_grade
from gambrel.cost.engines.parts import COLD, Parts, Residency, to_cost
from gambrel.cost.kernel import (
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    KernelCost,
    MemoryBound,
    Scan,
    Transfer,
)
from gambrel.hardware.device import Device

__all__ = ["COLD", "Grade", "Residency", "parameter_grade", "price"]


def price(kernel: Kernel, device: Device, residency: Residency = COLD) -> KernelCost:
    """Seconds and bound of a kernel with the engine of its device, never below the roofline.

    Args:
        kernel: One kernel; its numbers may be arrays that broadcast, and scalars give the same bits.
        device: The machine; its numbers may be what-if arrays.
        residency: Where operands start; cold by default.

    Returns:
        Arrays of the common broadcast shape (0-d for scalars); the bound is `latency` where start-up is the largest
        part. An empty kernel and a group of one device cost 0.

    Raises:
        PlanError: No rate for the kernel's number format, or a transfer on a device without links.
    """
    if isinstance(kernel, Transfer):
        return to_cost(kernel, device, collective(kernel, device))
    if device.engine == "cpu":
        work = host.as_product(kernel) if isinstance(kernel, Convolution) else kernel
        return to_cost(work, host.floor_device(work, device, residency), host.cpu(work, device, residency))
    parts = _compute(kernel, device, residency)
    if isinstance(kernel, Convolution):
        floor = gpu_convolution.floor_device(kernel, device)
    else:
        floor = loop_device(device, residency)
    return to_cost(kernel, floor, parts)


def _compute(
    kernel: Gemm | Convolution | GroupedGemm | Attention | Scan | MemoryBound, device: Device, residency: Residency
) -> Parts:
    if device.engine == "roofline":
        return achievable(kernel, device)
    match kernel:
        case Gemm():
            return gemm(kernel, device, residency)
        case Convolution():
            return gpu_convolution.convolution(kernel, device, residency)
        case GroupedGemm():
            return grouped_gemm(kernel, device, residency)
        case Attention(decode=True):
            return attention_decode(kernel, device, residency)
        case Attention():
            return attention_prefill(kernel, device, residency)
        case Scan():
            return scan(kernel, device, residency)
        case MemoryBound():
            return memory_bound(kernel, device, residency)
        case _:
            assert_never(kernel)
