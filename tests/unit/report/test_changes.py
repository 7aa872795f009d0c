from dataclasses import replace

import pytest

from gambrel.estimation.api import machine
from gambrel.estimation.points import Plan, Workload
from gambrel.report.changes import CHANGE, Sensitivity, sensitivities
from gambrel.report.figures.tornado import tornados


@pytest.fixture(scope="module")
def found():
    device = replace(machine("h100-sxm"), engine="roofline", parameters={})
    its = sensitivities("llama-3.1-8b", device, Plan(), Workload(batch=1, isl=4096, osl=16))
    return {(item.what, item.metric): item for item in its}


def test_a_decode_that_reads_weights_follows_the_memory(found):
    item = found["memory bandwidth", "tpot_s"]
    assert item.more == pytest.approx(1 / (1 + CHANGE) - 1, rel=0.02)
    assert item.less == pytest.approx(1 / (1 - CHANGE) - 1, rel=0.02)
    assert found["matrix peaks", "tpot_s"].more == pytest.approx(0.0, abs=1e-3)


def test_a_long_prefill_follows_the_matrix_units(found):
    assert found["matrix peaks", "ttft_s"].more < -0.05
    assert found["matrix peaks", "ttft_s"].less > 0.05


def test_one_device_does_not_feel_its_links(found):
    assert {what for what, _ in found} >= {"nvlink bandwidth", "nvlink latency", "ib bandwidth"}
    assert all(item.more == item.less == 0.0 for (what, _), item in found.items() if what.startswith(("nvlink", "ib")))


def test_the_tornado_says_what_matters_and_leaves_out_what_does_not():
    def item(what: str, less: float, more: float) -> Sensitivity:
        return Sensitivity(what=what, metric="tpot_s", less=less, more=more)

    (figure,) = tornados([item("links", 1e-6, -1e-6), item("matrix peaks", 0.02, -0.01), item("memory", 0.1, -0.08)])
    assert figure.statement == (
        "10 % more memory would cut the time per output token by 8 %; the next is matrix peaks with 1 %"
    )
    assert '"y":["memory","matrix peaks"]' in figure.spec
    assert "Others (1) change it by less than 0.05 %" in figure.note
