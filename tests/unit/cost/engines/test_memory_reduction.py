"""A reduction reads the tensor that it reduces again, not what is only added on the way."""

import pytest

from gambrel.cost.engines import price
from gambrel.cost.kernel import MemoryBound
from gambrel.hardware.load import load_device


def test_only_the_reduced_tensor_is_read_again() -> None:
    device = load_device("h100-sxm")
    p = device.parameters["memory_bound_norm"]
    rows, cols, element = 131072.0, 8192.0, 2.0
    tensor = rows * cols * element
    sizes = {"rows": rows, "cols": cols, "bytes_read": 2 * tensor, "bytes_written": 2 * tensor, "flops": 0.0}
    every = price(MemoryBound(op="norm", **sizes), device).seconds
    one = price(MemoryBound(op="norm", **sizes, reduced_bytes=tensor), device).seconds
    bandwidth = p["memory_efficiency"] * device.memory_bandwidth_bytes_per_s
    assert float(every - one) == pytest.approx(p["second_pass"] * tensor / bandwidth)
