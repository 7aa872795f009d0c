import json
from itertools import pairwise

import pytest

import gambrel
from gambrel.estimation.details import timeline
from gambrel.estimation.points import Plan, Workload
from gambrel.report.trace import trace, trace_json

ASKED = {"plan": Plan(tp=2, pp=4), "workload": Workload(batch=16, osl=64)}


@pytest.fixture(scope="module")
def estimate():
    return gambrel.estimate("llama-3.1-70b", "h200-sxm", **ASKED)


@pytest.fixture(scope="module")
def made(estimate):
    return json.loads(trace_json(estimate, timeline("llama-3.1-70b", "h200-sxm", **ASKED)))


def nanoseconds(event) -> tuple[int, int]:
    """Start and end as viewers read them: multiplied, then cut off."""
    start = int(event["ts"] * 1000.0)
    return start, start + int(event["dur"] * 1000.0)


def test_viewers_read_slices_without_overlap(made):
    threads: dict[tuple[int, int], list] = {}
    for event in made["traceEvents"]:
        if event["ph"] == "X":
            threads.setdefault((event["pid"], event["tid"]), []).append(nanoseconds(event))
    assert len(threads) == 1 + 4 * 4  # the phases; microbatches, layers, compute and nvlink of each stage
    for times in threads.values():
        for before, after in pairwise(sorted(times)):
            assert before[0] < before[1] <= after[0]


def test_it_ends_with_the_decode_step(made, estimate):
    end = max(nanoseconds(event)[1] for event in made["traceEvents"] if event["ph"] == "X")
    assert end == pytest.approx((estimate.ttft_s + estimate.tpot_s) * 1e9, abs=1.0)


def test_stages_and_lanes_have_names(made):
    named = {e["args"]["name"] for e in made["traceEvents"] if e["ph"] == "M" and e["name"] == "process_name"}
    assert named == {"phases", *(f"stage {n} of 4, one of 2 that do the same" for n in range(4))}
    every = {(e["pid"], e["tid"]) for e in made["traceEvents"] if e["ph"] == "X"}
    assert every <= {(e["pid"], e["tid"]) for e in made["traceEvents"] if e["name"] == "thread_name"}


def test_kernels_say_what_they_do(made, estimate):
    (row,) = [row for row in estimate.decode.rows if row.name.endswith("mlp.gate + mlp.up")]
    event = next(e for e in made["traceEvents"] if e["name"] == "mlp.gate + mlp.up" and e["ts"] > estimate.ttft_s * 1e6)
    assert event["cat"] == "gemm"
    assert event["args"]["flops"] == row.flops
    assert event["args"]["bytes_read"] == row.bytes_read
    assert event["args"]["bound"] == row.bound
    assert event["args"]["formula"] == row.formula
    start, end = nanoseconds(event)
    assert end - start == pytest.approx(row.seconds * 1e9, abs=1.0)


def test_it_says_what_it_rests_on(made, estimate):
    other = made["otherData"]
    assert other["profile_hash"] == estimate.provenance.profile_hash
    assert other["assumptions"] == list(estimate.assumptions)
    assert any("steady state" in note for note in other["notes"])


def test_a_single_token_has_one_phase():
    asked = {"plan": Plan(), "workload": Workload(osl=1)}
    made = trace(gambrel.estimate("llama-3.2-1b", "h100-sxm", **asked), timeline("llama-3.2-1b", "h100-sxm", **asked))
    assert [e["name"] for e in made["traceEvents"] if e.get("cat") == "phase"] == ["prefill of the batch"]
