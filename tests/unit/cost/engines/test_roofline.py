from dataclasses import replace

import numpy as np
import pytest
from engine_cases import GPU, decode, gemm, grouped, prefill, stream, transfer

from gambrel.cost.kernel import BOUNDS, Collective
from gambrel.cost.roofline import crossed_levels, kernel_bytes, kernel_flops, matrix_rate, roofline
from gambrel.errors import PlanError


def test_counts_of_each_kind() -> None:
    assert kernel_flops(gemm(16.0, 32.0, 64.0, 3.0)) == 2 * 3 * 16 * 32 * 64
    assert kernel_bytes(gemm(16.0, 32.0, 64.0, 3.0)) == 3 * 2 * (16 * 64 + 64 * 32 + 16 * 32)
    assert kernel_flops(grouped(40.0, hit=8.0, n=2048.0, k=4096.0)) == 2 * 40 * 2048 * 4096
    assert kernel_bytes(grouped(40.0, hit=8.0, n=2048.0, k=4096.0)) == 2 * (40 * (4096 + 2048) + 8 * 2048 * 4096)
    assert kernel_flops(prefill(2.0, 100.0)) == 2 * 2 * 32 * (100 * 101 / 2) * (128 + 128)
    assert kernel_bytes(prefill(2.0, 100.0)) == 2 * 100 * 8 * 256 * 2 + 2 * 100 * 32 * 256 * 2
    assert kernel_flops(decode(4.0, 1000.0)) == 2 * 4 * 32 * 1000 * 256
    assert kernel_bytes(stream(10.0, 20.0)) == 10 * 20 * 2 * 3
    assert kernel_flops(transfer(1e6, 8.0)) == 0
    assert kernel_bytes(transfer(1e6, 8.0)) == 2 * 7 / 8 * 1e6


def test_time_is_the_larger_of_compute_and_memory() -> None:
    small, large = roofline(gemm(1.0), GPU), roofline(gemm(65536.0), GPU)
    assert small.seconds == kernel_bytes(gemm(1.0)) / 4e12
    assert BOUNDS[int(small.bound)] == "memory"
    assert large.seconds == kernel_flops(gemm(65536.0)) / 1e15
    assert BOUNDS[int(large.bound)] == "compute"


@pytest.mark.parametrize(
    ("op", "sent"),
    [
        ("all_gather", 7 / 8 * 1e6),
        ("reduce_scatter", 7 / 8 * 1e6),
        ("all_to_all", 7 / 8 * 1e6),
        ("broadcast", 1e6),
        ("permute", 1e6),
        ("all_reduce", min(2 * 7 / 8, 1 + 1 / 8) * 1e6),
    ],
)
def test_transfer_takes_its_bytes_over_the_bandwidth(op: Collective, sent: float) -> None:
    cost = roofline(transfer(1e6, 8.0, op), GPU)
    assert cost.seconds == pytest.approx(sent / 400e9, rel=1e-12)
    assert BOUNDS[int(cost.bound)] == "network"


def test_levels_of_a_group_across_two_boxes() -> None:
    inner, outer = crossed_levels(transfer(1.0, 16.0, stride=2.0), GPU)
    assert (inner.members, inner.inner) == (4.0, 1.0)
    assert (outer.members, outer.inner) == (4.0, 4.0)


def test_a_group_that_skips_boxes_uses_the_outer_link_only() -> None:
    inner, outer = crossed_levels(transfer(1.0, 4.0, stride=8.0), GPU)
    assert (inner.members, outer.members) == (1.0, 4.0)


def test_missing_rate_names_the_device_and_the_known_rates() -> None:
    with pytest.raises(PlanError, match=r"test-gpu: no matrix rate for 'bf8'.*bf16"):
        matrix_rate(GPU, "bf8")


def test_fp32_runs_on_the_vector_units_where_there_is_no_matrix_rate() -> None:
    assert matrix_rate(GPU, "fp32") == GPU.vector_flops_per_s


def test_a_group_without_a_link_is_refused() -> None:
    alone = replace(GPU, links=())
    assert roofline(transfer(1e6, 1.0), alone).seconds == 0.0
    with pytest.raises(PlanError, match="no link"):
        roofline(transfer(1e6, np.array([1.0, 2.0])), alone)
