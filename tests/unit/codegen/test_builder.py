import math

import pytest

from gambrel.codegen.builder import Builder
from gambrel.codegen.graph import CONSTANT


def test_equal_nodes_are_one():
    b = Builder()
    x, y = b.input("x"), b.input("y")
    assert b.apply("add", x, y) == b.apply("add", x, y)
    assert b.apply("add", x, y) == b.apply("add", y, x)
    assert b.apply("sub", x, y) != b.apply("sub", y, x)
    assert b.constant(0.5) == b.constant(0.5)


def test_constants_are_folded():
    b = Builder()
    assert b.value(b.apply("pow", b.constant(2.0), b.constant(10.0))) == 1024.0
    assert b.value(b.apply("ceil", b.apply("div", b.constant(7.0), b.constant(2.0)))) == 4.0


@pytest.mark.parametrize(
    ("operation", "operands", "left"),
    [
        ("add", (0.0, "x"), "x"),
        ("add", ("x", 0.0), "x"),
        ("sub", ("x", 0.0), "x"),
        ("sub", ("x", "x"), 0.0),
        ("mul", ("x", 1.0), "x"),
        ("mul", (0.0, "x"), 0.0),
        ("div", ("x", 1.0), "x"),
        ("div", ("x", "x"), 1.0),
        ("div", (0.0, "x"), 0.0),
        ("pow", ("x", 1.0), "x"),
        ("pow", ("x", 0.0), 1.0),
        ("max", ("x", "x"), "x"),
        ("max", (-math.inf, "x"), "x"),
        ("min", ("x", math.inf), "x"),
        ("lt", ("x", "x"), 0.0),
        ("le", ("x", "x"), 1.0),
        ("and", ("x", 0.0), 0.0),
        ("and", (1.0, "x"), "x"),
        ("or", ("x", 1.0), 1.0),
        ("or", (0.0, "x"), "x"),
        ("where", (1.0, "x", "y"), "x"),
        ("where", (0.0, "x", "y"), "y"),
        ("where", ("y", "x", "x"), "x"),
    ],
)
def test_what_changes_nothing_makes_no_node(operation, operands, left):
    b = Builder()
    node = {value: b.input(value) if isinstance(value, str) else b.constant(value) for value in (*operands, left)}
    assert b.apply(operation, *(node[value] for value in operands)) == node[left]


def test_few_choices_are_computed_at_once():
    b = Builder()
    tp, x = b.input("tp", (1.0, 2.0, 8.0)), b.input("x")
    heads = b.apply("div", b.constant(64.0), tp)
    assert b.value(b.apply("lt", heads, b.constant(100.0))) == 1.0, "64/tp is below 100 for every tp"
    assert b.value(b.apply("lt", heads, b.constant(20.0))) is None
    assert sorted(b.known(heads).ravel()) == [8.0, 32.0, 64.0]
    assert b.known(b.apply("mul", heads, x)) is None


def test_combinations_of_choices_are_all_looked_at():
    b = Builder()
    tp, pp = b.input("tp", (1.0, 4.0)), b.input("pp", (1.0, 2.0, 3.0))
    devices = b.apply("mul", tp, pp)
    assert sorted(b.known(devices).ravel()) == [1.0, 2.0, 3.0, 4.0, 8.0, 12.0]


def test_dead_nodes_are_left_out():
    b = Builder()
    x, y = b.input("x"), b.input("y")
    b.apply("exp", y)
    graph = b.graph({"out": b.apply("sqrt", x), "same": x})
    assert graph.inputs == ("x",)
    assert [node.operation for node in graph.nodes] == ["input", "sqrt"]
    assert graph.evaluate({"x": 9.0}) == {"out": 3.0, "same": 9.0}


def test_a_constant_output_needs_no_input():
    b = Builder()
    graph = b.graph({"out": b.apply("mul", b.constant(0.0), b.input("x"))})
    assert [node.operation for node in graph.nodes] == [CONSTANT]
