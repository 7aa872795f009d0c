"""Rows and parts of a product by their index alone."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gambrel.search.axes import Axes, Parts


def test_rows_are_those_of_the_product_in_order() -> None:
    lists = {"a": ("x", "y"), "b": (1, 2, 3), "c": (None, 7)}
    axes = Axes(lists)
    assert axes.rows == 12
    assert [tuple(axes.row(number).values()) for number in range(12)] == list(product(*lists.values()))


@given(sizes=st.lists(st.integers(1, 9), max_size=6), most=st.integers(1, 300))
def test_parts_are_boxes_that_follow_each_other(sizes: list[int], most: int) -> None:
    rows = list(product(*map(range, sizes)))
    parts = Parts(sizes, most)
    found: list[tuple[int, ...]] = []
    for number, part in enumerate(parts):
        assert (part.number, part.first_row) == (number, len(found))
        assert part.rows == math.prod(map(len, part.box)) <= most
        found += product(*part.box)
    assert found == rows


def test_parts_of_a_huge_product_are_found_without_listing_them() -> None:
    parts = Parts([10] * 12, 2**18)
    last = parts[len(parts) - 1]
    assert len(parts) == 10**12 // (2 * 10**5)
    assert (last.first_row, last.rows) == (10**12 - 2 * 10**5, 2 * 10**5)


def test_pieces_of_an_axis_are_even() -> None:
    assert [part.rows for part in Parts([11, 100], 500)] == [400, 400, 300]


def test_there_is_no_part_behind_the_last() -> None:
    with pytest.raises(IndexError):
        Parts([3], 1)[3]
