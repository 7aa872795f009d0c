"""Two halves of a batch that take turns: transfers of one overlap compute of the other."""

import pytest

import gambrel
from gambrel.errors import PlanError
from gambrel.estimation.result import Estimate

WORKLOAD = gambrel.Workload(batch=256, isl=1024, osl=64)


def estimate(**plan: int) -> Estimate:
    return gambrel.estimate("deepseek-v3", "h200-sxm", plan=gambrel.Plan(dp=16, ep=16, **plan), workload=WORKLOAD)


def test_halves_hide_the_shorter_of_compute_and_transfers() -> None:
    halves = estimate(sub_batches=2).prefill
    transfers = halves.seconds_by_family["collective"]
    busy = sum(halves.seconds_by_family.values())
    assert halves.overlapped_seconds == pytest.approx(busy - halves.seconds)
    # What overlaps is at most the shorter part; embedding, head and the fill do not.
    shorter = min(transfers, busy - transfers)
    assert 0.5 * shorter < halves.overlapped_seconds <= shorter
    assert halves.seconds >= max(transfers, busy - transfers)


def test_a_long_prefill_gains_and_a_weight_bound_decode_does_not() -> None:
    whole, halves = estimate(), estimate(sub_batches=2)
    assert whole.prefill.overlapped_seconds == 0.0
    assert halves.ttft_s < whole.ttft_s
    assert halves.decode is not None
    assert whole.decode is not None
    # Both halves read the weights of the experts that they reach.
    assert halves.decode.bytes > whole.decode.bytes


def test_without_transfers_halves_only_cost() -> None:
    workload = gambrel.Workload(batch=8, isl=512, osl=16)
    times = [
        gambrel.estimate("llama-3.1-8b", "h100-sxm", plan=gambrel.Plan(sub_batches=n), workload=workload).latency_s
        for n in (1, 2)
    ]
    assert times[1] > times[0]


@pytest.mark.parametrize(
    ("plan", "batch", "message"),
    [
        ({"sub_batches": 3}, 8, "3 sub-batches"),
        ({"sub_batches": 2, "pp": 2}, 8, "with pp = 2"),
        ({"sub_batches": 2}, 1, "2 sub-batches of 1 sequence"),
        ({"sub_batches": 0}, 8, "out of range"),
    ],
)
def test_what_cannot_take_turns_is_refused(plan: dict[str, int], batch: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        gambrel.estimate("llama-3.1-8b", "h100-sxm", plan=gambrel.Plan(**plan), workload=gambrel.Workload(batch=batch))
