"""Devices and kernels that the engine tests share: round numbers, no profile."""

from dataclasses import replace

from gambrel.cost.kernel import (
    Attention,
    Collective,
    Convolution,
    Elementwise,
    Gemm,
    GroupedGemm,
    MemoryBound,
    Number,
    Transfer,
)
from gambrel.hardware.device import Device, Link, Power

NVLINK = Link(
    name="nvlink",
    size=8,
    bandwidth_bytes_per_s=400e9,
    latency_s=1e-6,
    topology="switch",
    in_network_reduction=True,
)
INFINIBAND = Link(name="ib", size=1024, bandwidth_bytes_per_s=50e9, latency_s=5e-6, topology="fat-tree")

GPU = Device(
    name="test-gpu",
    title="Test GPU",
    kind="gpu",
    generation="test",
    engine="gpu",
    num_units=100.0,
    clock_hz=2e9,
    matrix_flops_per_s={"bf16": 1e15, "fp8": 2e15},
    sparse_flops_per_s={},
    vector_flops_per_s=5e13,
    memory_bytes=80e9,
    memory_bandwidth_bytes_per_s=4e12,
    cache_bytes=50e6,
    cache_bandwidth_bytes_per_s=None,
    links=(NVLINK, INFINIBAND),
    power=Power(tdp_w=700.0, energy_per_flop_j={}),
    price_usd_per_h=None,
    parameters={},
    profile_hash="0" * 12,
)

TPU = replace(GPU, name="test-tpu", kind="tpu", engine="roofline")


def gemm(m: Number, n: Number = 4096.0, k: Number = 4096.0, batch: Number = 1.0) -> Gemm:
    return Gemm(m=m, n=n, k=k, batch=batch, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0)


def convolution(
    images: Number,
    channels: tuple[Number, Number] = (64.0, 128.0),
    size: Number = 32.0,
    *,
    side: float = 3.0,
    stride: float = 1.0,
) -> Convolution:
    """In fp32, padded so that a stride of 1 keeps the size."""
    return Convolution(
        images=images,
        channels_in=channels[0],
        channels_out=channels[1],
        height=size,
        width=size,
        filter=side,
        stride=stride,
        padding=(side - 1.0) / 2.0,
        rate="fp32",
        a_bytes=4.0,
        b_bytes=4.0,
        c_bytes=4.0,
    )


def grouped(rows: Number, hit: Number = 8.0, n: Number = 2048.0, k: Number = 4096.0) -> GroupedGemm:
    return GroupedGemm(
        rows=rows, experts=64.0, hit_experts=hit, n=n, k=k, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0
    )


def decode(batch: Number, kv_len: Number, kv_heads: Number = 8.0, heads: Number = 32.0) -> Attention:
    return Attention(
        batch=batch,
        q_len=1.0,
        kv_len=kv_len,
        pairs=kv_len,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128.0,
        v_head_dim=128.0,
        q_bytes=2.0,
        kv_bytes=2.0,
        kv_bytes_total=batch * kv_len * kv_heads * 256.0 * 2.0,
        decode=True,
        rate="bf16",
    )


def prefill(batch: Number, length: Number, *, prologue: bool = False) -> Attention:
    return Attention(
        batch=batch,
        q_len=length,
        kv_len=length,
        pairs=length * (length + 1.0) / 2.0,
        heads=32.0,
        kv_heads=8.0,
        head_dim=128.0,
        v_head_dim=128.0,
        q_bytes=2.0,
        kv_bytes=2.0,
        kv_bytes_total=batch * length * 8.0 * 256.0 * 2.0,
        decode=False,
        rate="bf16",
        prologue=prologue,
    )


def stream(rows: Number, cols: Number = 8192.0, op: Elementwise = "elementwise") -> MemoryBound:
    size = rows * cols * 2.0
    return MemoryBound(op=op, rows=rows, cols=cols, bytes_read=2.0 * size, bytes_written=size, flops=rows * cols)


def transfer(size: Number, group: Number, op: Collective = "all_reduce", stride: Number = 1.0) -> Transfer:
    return Transfer(op=op, message_bytes=size, group=group, stride=stride)
