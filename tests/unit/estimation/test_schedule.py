import pytest

from gambrel.estimation.schedule import fill_and_drain, rounds, take_turns


def test_equal_stages_fill_and_drain():
    passes = fill_and_drain([2.0, 2.0, 2.0], 4)
    assert passes.starts[0] == [0.0, 2.0, 4.0]
    assert passes.starts[3] == [6.0, 8.0, 10.0]
    assert passes.period_s == 3 * 2.0 + (4 - 1) * 2.0


def test_a_slow_stage_holds_up_those_behind_it():
    passes = fill_and_drain([1.0, 3.0, 2.0], 3)
    assert passes.starts[1] == [1.0, 4.0, 7.0]
    assert passes.period_s == (1.0 + 3.0 + 2.0) + (3 - 1) * 3.0


@pytest.mark.parametrize(("passes", "period"), [(1, 6.0), (2, 6.0), (3, 9.0)])
def test_a_round_lasts_until_the_first_pass_is_back_or_the_slowest_stage_has_served_all(passes, period):
    found = rounds([1.0, 3.0, 2.0], passes)
    assert found.period_s == period == max(6.0, passes * 3.0)
    assert found.starts[-1] == [(passes - 1) * 3.0, (passes - 1) * 3.0 + 1.0, (passes - 1) * 3.0 + 4.0]


def test_halves_take_turns():
    turns = take_turns([("compute", 2.0), ("link", 2.0), ("compute", 1.0)])
    when = {(turn.half, turn.step): (turn.start_s, turn.end_s) for turn in turns}
    assert when == {
        (0, 0): (0.0, 2.0),
        (1, 0): (2.0, 4.0),
        (0, 1): (2.0, 4.0),
        (0, 2): (4.0, 5.0),
        (1, 1): (4.0, 6.0),
        (1, 2): (6.0, 7.0),
    }


def test_without_transfers_halves_follow_each_other():
    assert max(turn.end_s for turn in take_turns([("compute", 1.0), ("compute", 2.0)])) == 2 * (1.0 + 2.0)
