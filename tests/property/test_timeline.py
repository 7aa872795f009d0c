"""What must hold for the timeline of every plan: hypothesis looks for counterexamples."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gambrel
from gambrel.errors import PlanError
from gambrel.estimation.details import timeline
from gambrel.estimation.points import Plan, Workload

plans = st.builds(
    Plan,
    tp=st.sampled_from([1, 2, 4]),
    pp=st.integers(1, 7),
    prefill_microbatches=st.none() | st.integers(1, 6),
    microbatches=st.none() | st.integers(1, 6),
    prefill_chunk=st.none() | st.integers(64, 512),
    sub_batches=st.sampled_from([1, 1, 2]),
    engine=st.sampled_from(["ideal", "vllm", "vllm-2023-eager"]),
)
workloads = st.builds(Workload, batch=st.integers(1, 24), isl=st.integers(1, 1000), osl=st.integers(1, 40))


@settings(max_examples=30)
@given(model=st.sampled_from(["llama-3.2-1b", "qwen3.5-9b"]), plan=plans, workload=workloads)
def test_it_ends_with_the_estimate_and_no_lane_is_in_two_places(model: str, plan: Plan, workload: Workload) -> None:
    try:
        estimate = gambrel.estimate(model, "h100-sxm", plan=plan, workload=workload)
    except PlanError:
        assume(False)
    its = timeline(model, "h100-sxm", plan=plan, workload=workload)
    for phase, seconds in ((its.prefill, estimate.ttft_s), (its.decode, estimate.tpot_s)):
        if phase is None:
            assert seconds is None
            continue
        assert max(item.end_s for item in phase.slices) == pytest.approx(seconds, rel=1e-9)
        near = 1e-9 * phase.seconds
        lanes: dict[tuple[int, str], list[tuple[float, float]]] = {}
        for item in phase.slices:
            lanes.setdefault((item.stage, item.lane), []).append((item.start_s, item.end_s))
        for times in lanes.values():
            times.sort()
            assert times[0][0] >= 0.0
            assert all(before[1] <= after[0] + near for before, after in pairwise(times))
