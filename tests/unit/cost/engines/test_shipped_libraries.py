"""Shipped parameters of libraries keep what the engines promise: a floor, and the same bits for arrays and scalars."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import decode, gemm, grouped, prefill, transfer

from gambrel.cost.engines import price
from gambrel.cost.kernel import Attention, Gemm, GroupedGemm, Transfer
from gambrel.cost.roofline import roofline
from gambrel.hardware.load import load_device

SIZES = np.array([1.0, 16.0, 65.0, 128.0, 777.0, 4096.0, 16384.0])
KERNELS = {
    "gemm": gemm(SIZES),
    "fp8": replace(gemm(SIZES), rate="fp8", a_bytes=1.0, b_bytes=1.0, quantized_from_bytes=2.0),
    "narrow weights": replace(gemm(SIZES), b_bytes=0.53125),
    "experts": grouped(SIZES),
    "prefill": prefill(4.0, SIZES, prologue=True),
    "encoder": replace(prefill(4.0, SIZES), pairs=SIZES * SIZES, masked=False),
    "decode": decode(16.0, SIZES),
    "decode of eight bits": replace(decode(16.0, SIZES), kv_bytes=1.0, kv_bytes_total=16.0 * SIZES * 8 * 256),
    "latent decode": replace(
        decode(16.0, SIZES, kv_heads=1.0, heads=16.0),
        head_dim=576.0,
        v_head_dim=512.0,
        kv_bytes_total=16.0 * SIZES * 576 * 2,
    ),
    "all-reduce": transfer(SIZES * 8192, 8.0),
}
DEVICES = {name: load_device(name) for name in ("a100-sxm-80gb", "h100-sxm", "b200-sxm", "l40s", "rtx-4090")}


def one(kernel: Gemm | GroupedGemm | Attention | Transfer, index: int) -> Gemm | GroupedGemm | Attention | Transfer:
    """The kernel of one of its sizes."""
    names = [name for name in kernel.__slots__ if np.ndim(getattr(kernel, name))]
    return replace(kernel, **{name: float(getattr(kernel, name)[index]) for name in names})


@pytest.mark.parametrize("library", ["", "trtllm", "vllm", "sglang", "nccl"])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("profile", DEVICES)
def test_floor_and_bits(profile: str, name: str, library: str) -> None:
    device, kernel = DEVICES[profile], replace(KERNELS[name], library=library)
    if name == "fp8" and "fp8" not in device.matrix_flops_per_s:
        pytest.skip("the device has no fp8")
    together = price(kernel, device).seconds
    assert np.all(together >= roofline(kernel, device).seconds)
    assert [float(price(one(kernel, i), device).seconds) for i in range(len(SIZES))] == together.tolist()
