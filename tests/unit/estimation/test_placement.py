import math
from itertools import pairwise

import numpy as np
import pytest

from gambrel.errors import PlanError
from gambrel.estimation import api
from gambrel.estimation.placement import AXES, PLACEMENTS, check_placement, neighbours, strides
from gambrel.estimation.points import Plan, Points, Workload

SIZES = {"tp": 4.0, "cp": 2.0, "dp": 3.0, "pp": 5.0, "tp_etp": 2.0, "ep": 6.0}


def of(placement):
    return strides(placement, {name: np.asarray(size) for name, size in SIZES.items()})


@pytest.mark.parametrize("name", PLACEMENTS)
def test_a_stride_is_the_product_of_the_axes_inside(name):
    found = of(np.asarray(float(PLACEMENTS.index(name))))
    order = name.split("-")
    for number, axis in enumerate(order):
        assert found[f"stride_{axis}"] == math.prod(SIZES[inner] for inner in order[:number])


def test_an_array_of_placements_has_the_strides_of_each():
    found = of(np.arange(len(PLACEMENTS), dtype=np.float64))
    for number in range(len(PLACEMENTS)):
        alone = of(np.asarray(float(number)))
        for name, stride in found.items():
            assert np.broadcast_to(stride, len(PLACEMENTS))[number] == alone[name]


def test_expert_axes_are_parts_of_the_block_of_tp_cp_and_dp():
    found = of(np.asarray(float(PLACEMENTS.index("pp-dp-tp-cp"))))
    assert found["stride_ep"] == SIZES["pp"]
    assert found["stride_edp"] == SIZES["pp"] * SIZES["ep"]
    assert found["stride_tp_etp"] == found["stride_tp"] == SIZES["pp"] * SIZES["dp"]
    assert found["stride_tp_ep"] == found["stride_tp"] * SIZES["tp_etp"]


@pytest.mark.parametrize(("name", "expected"), [("tp-cp-dp-pp", True), ("tp-pp-cp-dp", False), ("cp-tp-dp-pp", True)])
def test_neighbours(name, expected):
    assert neighbours(name, ("tp", "dp")) is (expected and name != "tp-cp-dp-pp")
    assert neighbours(name, AXES) is True


@pytest.mark.parametrize("name", ["tp-cp-dp", "pp", "tp-tp-dp-pp", ""])
def test_what_is_no_order_is_refused(name):
    with pytest.raises(PlanError, match="no order"):
        check_placement(name)


def test_tensor_parallelism_across_boards_is_slower_than_within_one():
    def ttft(placement):
        plan = Plan(tp=8, pp=2, placement=placement)
        return api.estimate("llama-3.1-8b", "h100-sxm", plan=plan, workload=Workload(batch=8)).ttft_s

    assert ttft("pp-tp-cp-dp") > ttft("tp-cp-dp-pp")
    assert ttft("tp-pp-cp-dp") == ttft("tp-cp-dp-pp") == ttft(None)


def test_groups_over_several_axes_take_ranks_in_a_row():
    plan = Plan(tp=2, pp=2, dp=4, ep=8, strategy="attention-dp-moe-ep", placement="tp-pp-cp-dp")
    with pytest.raises(PlanError, match="another axis between them"):
        api.estimate("deepseek-v3", "h200-sxm", plan=plan, workload=Workload(batch=32))


def chunked(chunk, **plan):
    work = Workload(batch=4, isl=4096, osl=64)
    return api.estimate("llama-3.1-8b", "h100-sxm", plan=Plan(prefill_chunk=chunk, **plan), workload=work)


def test_chunks_are_equal_and_cover_the_prompt():
    points = Points.of(batch=1.0, isl=4000.0, osl=1.0, prefill_chunk=np.array([1500.0, 4000.0, 8000.0, np.inf]))
    assert points.chunks.tolist() == [3.0, 1.0, 1.0, 1.0]
    assert points.pass_tokens.tolist() == [1334.0, 4000.0, 4000.0, 4000.0]


def test_a_chunk_of_the_whole_prompt_changes_nothing():
    assert chunked(4096).ttft_s == chunked(None).ttft_s == chunked(100_000).ttft_s


def test_chunks_do_the_same_matrix_work_in_less_memory_and_more_time():
    whole, cut = chunked(None), chunked(512)
    products = [
        [sum(row.flops * row.count for row in e.prefill.rows if row.family == "attention") for e in (whole, cut)]
    ]
    assert products[0][1] == pytest.approx(products[0][0], rel=1e-3)
    assert cut.memory.bytes_by_kind["activations"] < whole.memory.bytes_by_kind["activations"] / 7
    assert cut.ttft_s > whole.ttft_s
    assert cut.tpot_s == whole.tpot_s


def test_chunks_fill_a_pipeline():
    times = [chunked(chunk, pp=4, prefill_microbatches=1).ttft_s for chunk in (4096, 2048, 1024)]
    assert all(later < earlier for earlier, later in pairwise(times))
