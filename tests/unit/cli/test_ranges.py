from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gambrel.cli.ranges import MOST_POINTS, parse_count, parse_counts, parse_names
from gambrel.errors import PlanError
from gambrel.estimation.points import LARGEST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", (8,)),
        ("1,2,4", (1, 2, 4)),
        ("4, 1", (4, 1)),
        ("1-256*2", tuple(2**power for power in range(9))),
        ("3-100*3", (3, 9, 27, 81)),
        ("1-9+2", (1, 3, 5, 7, 9)),
        ("1-8+2", (1, 3, 5, 7)),
        ("8-11", (8, 9, 10, 11)),
        ("5-5*2", (5,)),
        ("1-4*2,3,4-6", (1, 2, 4, 3, 5, 6)),
        (f"{LARGEST}", (LARGEST,)),
    ],
)
def test_forms(text, expected):
    assert parse_counts("--batch", text) == expected


@given(st.lists(st.integers(1, LARGEST), min_size=1, max_size=20, unique=True))
def test_a_list_is_read_as_written(values):
    assert parse_counts("--batch", ",".join(map(str, values))) == tuple(values)


@given(st.integers(1, 10**6), st.integers(0, 10**4), st.integers(2, 9))
def test_a_geometric_range_stays_inside_and_could_not_go_on(first, more, factor):
    values = parse_counts("--batch", f"{first}-{first + more}*{factor}")
    assert values[0] == first
    assert all(b == a * factor for a, b in pairwise(values))
    assert values[-1] <= first + more < values[-1] * factor


def test_a_range_as_long_as_allowed():
    assert len(parse_counts("--batch", f"1-{MOST_POINTS}")) == MOST_POINTS


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty place"),
        ("1,,2", "empty place"),
        ("1,", "empty place"),
        ("x", "'x' is not a count"),
        ("nan", "'nan' is not a count"),
        ("-3", "-3 is out of range"),
        ("1.5", "'1.5' is not a count"),
        ("1e30", "'1e30' is not a count"),
        ("1-2-3", "'1-2-3' is not a count"),
        ("1-8^2", "'1-8^2' is not a count"),
        ("\u0663", "is not a count"),  # a digit, but not one of ours
        ("0", "0 is out of range"),
        (str(LARGEST + 1), "is out of range"),
        ("9" * 10_000, "(10000 digits) is out of range"),
        ("9-1", "runs backwards. Write 1-9"),
        ("9-1*2", "runs backwards. Write 1-9*2"),
        ("1-9+0", "never ends: its step is 0"),
        ("1-9*1", "never ends: its factor is 1"),
        ("1-9*0", "never ends: its factor is 0"),
        (f"1-{MOST_POINTS + 1}", f"is {MOST_POINTS + 1:,} values"),
        (f"1-{LARGEST}", f"is {LARGEST:,} values"),
        (f"1-{MOST_POINTS},{MOST_POINTS + 1}-{MOST_POINTS + 2}", f"is {MOST_POINTS + 2:,} values"),
    ],
)
def test_errors_name_the_option(text, part):
    with pytest.raises(PlanError) as caught:
        parse_counts("--batch", text)
    (problem,) = caught.value.problems
    assert problem.where == "--batch"
    assert part in str(problem)


def test_zero_where_it_is_allowed():
    assert parse_counts("--prefix", "0,8", least=0) == (0, 8)
    with pytest.raises(PlanError, match="begins with 0"):
        parse_counts("--prefix", "0-8*2", least=0)


def test_one_count():
    assert parse_count("--devices", "8") == 8
    with pytest.raises(PlanError, match="1,2 is 2 values"):
        parse_count("--devices", "1,2")


def test_names():
    known = ("bf16", "fp8", "int4")
    assert parse_names("--plan.kv", "fp8, bf16,fp8", known) == ("fp8", "bf16")
    with pytest.raises(PlanError) as caught:
        parse_names("--plan.kv", "fp9,bf16,", known)
    assert [problem.what for problem in caught.value.problems] == ["unknown name 'fp9'", "unknown name ''"]
