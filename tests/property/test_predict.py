"""What must hold for every prediction, whatever the shape: monotone in the device, inside its interval, as one row."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambrel.calibration.predict import predict_kernels
from gambrel.hardware.load import load_device

DEVICES = tuple(load_device(name) for name in ("h100-sxm", "b200-sxm", "a100-sxm-80gb", "mi300x", "tpu-v5e"))
SIZE = st.integers(1, 2**14)
HEADS = st.sampled_from([(8, 8), (32, 8), (64, 4), (64, 1)])


@st.composite
def gemm(draw):
    return "gemm", {**{name: draw(SIZE) for name in "mnk"}, "dtype": draw(st.sampled_from(["bf16", "int8", "int4_wo"]))}


@st.composite
def attention(draw):
    heads, kv_heads = draw(HEADS)
    shape = {"batch": draw(st.integers(1, 256)), "num_heads": heads, "num_kv_heads": kv_heads, "head_dim": 128}
    shape["dtype"] = "bf16"
    if draw(st.booleans()):
        return "attention_decode", {**shape, "kv_len": draw(SIZE)}
    return "attention_prefill", {**shape, "s": draw(SIZE), "prefix": draw(st.integers(0, 4096))}


@st.composite
def memory_bound(draw):
    op = draw(st.sampled_from(["add", "softmax", "ln", "gelu", "emb"]))
    return "memory_bound", {"op": op, "rows": draw(SIZE), "cols": draw(SIZE), "dtype": "bf16"}


@st.composite
def conv(draw):
    shape = {"B": draw(st.integers(1, 64)), "Input_Channel": draw(SIZE), "Output_Channel": draw(SIZE)}
    side = draw(st.sampled_from([1, 3, 5]))
    sizes = {"Kernel_Size": side, "Padding": side // 2, "Input_Size": draw(st.integers(side, 224))}
    return "conv", {
        **shape,
        **sizes,
        "Stride": draw(st.sampled_from([1, 2])),
        "dtype": draw(st.sampled_from(["fp32", "bf16"])),
    }


@st.composite
def moe(draw):
    sizes = {"hidden": 1024 * draw(st.integers(1, 8)), "inter": 512 * draw(st.integers(1, 8)), "dtype": "bf16"}
    experts, ep = draw(st.sampled_from([(8, 1), (64, 8), (256, 32)]))
    spread = draw(st.sampled_from(["balanced", "power_law_1.2"]))
    sizes |= {"num_experts": experts, "moe_ep": ep, "topk": draw(st.integers(1, 8)), "distribution": spread}
    return "moe", {**sizes, "num_tokens": draw(SIZE)}


@st.composite
def collective(draw):
    kind = draw(st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "alltoall", "p2p"]))
    sizes = {"num_gpus": draw(st.sampled_from([2, 4, 8])), "message_bytes": draw(st.integers(1, 2**30))}
    return "collective", {"collective": kind, **sizes}


CALLS = st.one_of(gemm(), attention(), memory_bound(), conv(), moe(), collective())


def seconds(device, call):
    op, columns = call
    return predict_kernels(op, device, columns).seconds.item()


@given(st.sampled_from(DEVICES), CALLS)
def test_an_estimate_lies_inside_its_interval(device, call):
    op, columns = call
    found = predict_kernels(op, device, columns)
    assert 0.0 < found.lower_s.item() <= found.seconds.item() <= found.upper_s.item() < np.inf
    assert found.bound.item() in ("compute", "memory", "network", "latency")
    assert found.grade.item() in ("calibrated", "transferred", "datasheet")


@given(st.sampled_from(DEVICES), CALLS, st.floats(1.0, 4.0))
def test_more_bandwidth_is_never_slower(device, call, factor):
    links = tuple(replace(x, bandwidth_bytes_per_s=x.bandwidth_bytes_per_s * factor) for x in device.links)
    faster = replace(device, memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * factor, links=links)
    assert seconds(faster, call) <= seconds(device, call) * (1 + 1e-9)


@given(st.sampled_from(DEVICES), CALLS, st.floats(1.0, 4.0))
def test_a_higher_peak_is_never_slower(device, call, factor):
    peaks = {name: rate * factor for name, rate in device.matrix_flops_per_s.items()}
    faster = replace(device, matrix_flops_per_s=peaks, vector_flops_per_s=device.vector_flops_per_s * factor)
    assert seconds(faster, call) <= seconds(device, call) * (1 + 1e-9)


GROWING = {
    "gemm": ("m", "n", "k"),
    "attention_decode": ("batch", "kv_len"),
    "attention_prefill": ("batch", "s"),
    "memory_bound": ("rows",),
    "conv": ("B", "Input_Channel", "Output_Channel"),
    "moe": ("hidden", "inter"),
    "collective": ("message_bytes",),
}
"""Columns of which twice as much is never less work."""


@given(st.sampled_from(DEVICES), CALLS, st.data())
def test_twice_the_size_is_never_faster(device, call, data):
    op, columns = call
    name = data.draw(st.sampled_from(GROWING[op]))
    assert seconds(device, (op, {**columns, name: 2 * columns[name]})) >= seconds(device, call) * (1 - 1e-9)


@settings(max_examples=30)
@given(st.sampled_from(DEVICES), st.lists(gemm(), min_size=1, max_size=20))
def test_a_row_does_not_depend_on_its_neighbours(device, calls):
    table = {name: [columns[name] for _, columns in calls] for name in ("m", "n", "k", "dtype")}
    together = predict_kernels("gemm", device, table).seconds
    assert together.tolist() == pytest.approx([seconds(device, call) for call in calls], rel=1e-12)
