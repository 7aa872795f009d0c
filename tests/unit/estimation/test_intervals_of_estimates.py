import pytest

import gambrel
from gambrel.estimation.details import intervals
from gambrel.estimation.points import Plan, Workload

ASKED = {"plan": Plan(tp=2), "workload": Workload(batch=16, isl=2048)}


@pytest.mark.parametrize("engine", ["ideal", "vllm"])
def test_families_take_what_the_estimate_books_and_lie_between_their_bounds(engine):
    asked = {"plan": Plan(tp=2, engine=engine), "workload": Workload(batch=16, isl=2048)}
    estimate = gambrel.estimate("llama-3.1-8b", "h100-sxm", **asked)
    found = intervals("llama-3.1-8b", "h100-sxm", **asked)
    for name, phase in (("prefill", estimate.prefill), ("decode", estimate.decode)):
        booked = {item.family: item.seconds for item in found[name]}
        assert booked == pytest.approx(dict(phase.seconds_by_family), rel=1e-9)
        assert all(item.lower_s <= item.seconds <= item.upper_s for item in found[name])
        assert max(item.upper_s / item.lower_s for item in found[name]) > 1.1


def test_an_engine_has_the_bounds_of_its_own_kernels():
    ideal, vllm = (
        {
            item.family: item.upper_s / item.seconds
            for item in intervals(
                "llama-3.1-8b", "h100-sxm", plan=Plan(engine=engine), workload=Workload(batch=16, isl=2048)
            )["decode"]
        }
        for engine in ("ideal", "vllm")
    )
    assert vllm["attention"] != ideal["attention"]
    assert vllm["movement"] == pytest.approx(ideal["movement"])


def test_a_device_without_measurements_is_less_sure():
    def widest(device: str) -> float:
        gemm = next(i for i in intervals("llama-3.1-8b", device, **ASKED)["prefill"] if i.family == "gemm")
        return gemm.upper_s / gemm.lower_s

    assert widest("tpu-v5e") > 2 * widest("h100-sxm")


def test_one_output_token_has_no_decode():
    assert list(intervals("llama-3.2-1b", "h100-sxm", workload=Workload(osl=1))) == ["prefill"]
