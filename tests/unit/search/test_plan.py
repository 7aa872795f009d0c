"""A plan search tells how far it is, and what it was stopped at is usable."""

import pytest

from gambrel.estimation.api import estimate
from gambrel.estimation.points import Workload
from gambrel.search.plan import search
from gambrel.search.progress import Progress, Watch
from gambrel.search.result import PlanResult
from gambrel.search.space import Space
from gambrel.search.targets import Limits

WORK = Workload(isl=1000, osl=64)
SPACE = Space(batches=(8, 32), strategies=("megatron", "attention-dp"), sub_batches=(1,))


def searched(watch: Watch = Watch(), limits: Limits | None = None) -> PlanResult:  # noqa: B008  (frozen)
    return search(
        "llama-3.1-8b", "h100-sxm", devices=4, workload=WORK, space=SPACE, limits=limits, top=100, watch=watch
    )


def stopping_after(pieces: int, told: list[Progress]) -> Watch:
    """Stops when it was told so often that some points are finished."""
    return Watch(progress=told.append, stop=lambda: sum(each.rows > 0 for each in told) >= pieces)


def test_it_tells_every_point_once() -> None:
    told: list[Progress] = []
    result = searched(Watch(progress=told.append))
    assert [told[0].rows, told[-1].rows] == [0, told[-1].total]
    assert {each.unit for each in told} == {"points"}
    assert [each.rows for each in told] == sorted(each.rows for each in told)
    points = {reason: count for reason, count in result.counts.pruned.items() if "no device would" not in reason}
    assert told[-1].total == result.counts.priced + sum(points.values())
    assert result.complete


def test_stopped_it_returns_the_best_of_what_it_came_to() -> None:
    told: list[Progress] = []
    whole, part = searched(), searched(stopping_after(2, told))
    assert not part.complete
    assert part.counts.unsearched == told[-1].total - told[-1].rows > 0
    assert part.counts.searched + part.counts.unsearched == whole.counts.searched
    assert 0 < part.counts.priced < whole.counts.priced
    known = {(choice.plan, choice.workload): choice.metrics for choice in whole.best}
    assert part.best
    for choice in part.best:
        assert choice.metrics == known[choice.plan, choice.workload]
    again = estimate("llama-3.1-8b", "h100-sxm", plan=part.best[0].plan, workload=part.best[0].workload)
    assert part.best[0].metrics["ttft_s"] == pytest.approx(again.ttft_s, rel=1e-9)
    assert part.to_dict()["complete"] is False


def test_stopped_without_a_plan_it_still_says_what_is_nearest() -> None:
    result = searched(stopping_after(1, []), Limits(ttft_s=1e-6))
    assert (result.complete, result.feasible) == (False, False)
    assert result.infeasible is not None
    assert result.infeasible.nearest is not None


def test_stopped_at_once_there_is_a_first_piece() -> None:
    result = searched(Watch(stop=lambda: True))
    assert not result.complete
    assert result.counts.priced > 0
    assert result.best
