from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from xdsl.parser import Parser

from gambrel.ir.expr import Expr, as_expr, ceildiv, maximum, minimum
from gambrel.ir.text import new_context
from gambrel.ir.types import AXES, Dim, TensorType, parse_expr

SYMBOLS = ("b", "s", "c", "tp")
LEAVES = st.sampled_from(SYMBOLS).map(as_expr) | st.integers(1, 50).map(as_expr)
EXPRS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, inner).map(lambda pair: ceildiv(*pair)),
        st.tuples(inner, inner).map(lambda pair: minimum(*pair)),
        st.tuples(inner, inner).map(lambda pair: maximum(*pair)),
    ),
    max_leaves=8,
)
"""Positive expressions: sums, products and calls of positive leaves."""
BINDINGS = st.fixed_dictionaries({name: st.integers(1, 200) for name in SYMBOLS})


def parsed(text: str) -> Expr:
    parser = Parser(new_context(), text)
    expr = parse_expr(parser)
    assert parser.parse_optional_punctuation(",") is None
    return expr


@given(EXPRS)
def test_text_parses_to_the_same_object(expr):
    assert parsed(str(expr)) is expr


@given(EXPRS, EXPRS, EXPRS)
def test_products_distribute(a, b, c):
    assert (a + b) * c is a * c + b * c
    assert a * b is b * a
    assert (a + b) + c is a + (b + c)
    assert a - a is as_expr(0)


@given(EXPRS, EXPRS, BINDINGS)
def test_arithmetic_is_that_of_fractions(a, b, binding):
    x, y = (Fraction(expr.evaluate(binding)) for expr in (a, b))
    assert (a + b).evaluate(binding) == x + y
    assert (a - b).evaluate(binding) == x - y
    assert (a * b).evaluate(binding) == x * y
    assert (a / 7).evaluate(binding) == x / 7
    assert minimum(a, b).evaluate(binding) == min(x, y)
    assert maximum(a, b).evaluate(binding) == max(x, y)


@given(EXPRS, EXPRS, BINDINGS)
def test_ceildiv_rounds_up(a, b, binding):
    top, bottom = a.evaluate(binding), b.evaluate(binding)
    quotient = ceildiv(a, b).evaluate(binding)
    assert quotient * bottom >= top
    assert (quotient - 1) * bottom < top


@given(EXPRS, EXPRS, EXPRS, BINDINGS)
def test_merged_divisions_round_once(a, b, c, binding):
    assert ceildiv(ceildiv(a, b), c).evaluate(binding) == ceildiv(a, b * c).evaluate(binding)


@st.composite
def placements(draw):
    """A type in which no axis is used twice."""
    axes = draw(st.permutations([axis for axis in AXES if axis not in ("tp_ep", "tp_etp")]))
    cuts = sorted(draw(st.lists(st.integers(0, len(axes)), min_size=4, max_size=4)))
    groups = [axes[start:end] for start, end in zip([0, *cuts], [*cuts, len(axes)], strict=True)]
    dims = [Dim(draw(EXPRS), tuple(group)) for group in groups[: draw(st.integers(0, 3))]]
    return TensorType.of(draw(st.sampled_from(["bf16", "fp8_block", "mxfp4", "i32"])), dims, groups[4])


@given(placements())
def test_types_parse_as_they_print(kind):
    assert Parser(new_context(), str(kind)).parse_type() == kind


@given(placements(), st.fixed_dictionaries({name: st.integers(1, 8) for name in {*SYMBOLS, *AXES}}))
def test_devices_hold_no_less_than_the_tensor(kind, binding):
    shards = 1
    for dim in kind.dims:
        for axis in dim.axes:
            shards *= binding[axis]
    assert kind.local_elements.evaluate(binding) * shards >= kind.global_elements.evaluate(binding)
