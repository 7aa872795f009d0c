import pickle
from fractions import Fraction

import pytest

from gambrel.ir.expr import ONE, ZERO, Expr, as_expr, ceildiv, fraction, hit, maximum, minimum, product, total

a, b, c = (as_expr(name) for name in "abc")


def test_equal_expressions_are_one_object():
    assert (a + b) * (a + b) is a * a + 2 * a * b + b * b
    assert a + b is b + a
    assert a - a is ZERO
    assert a * 1 is a
    assert as_expr(1) is ONE
    assert ceildiv(a, b) is ceildiv(a, b)
    assert minimum(a, b) is minimum(b, a)


def test_zero_terms_vanish():
    assert (a + b - a) is b
    assert str(a * 0) == "0"
    assert (a * 0).constant == 0


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (a * 2 + 3, "3 + 2*a"),
        (b * a * a, "a*a*b"),
        (a - b, "a + -1*b"),
        (ceildiv(a + 1, b * 8), "ceildiv(1 + a, 8*b)"),
        (minimum(a, 4096), "min(a, 4096)"),
        (maximum(3, a, 5), "max(a, 5)"),
        (hit(4, 8, 2, a), "hit(4, 8, 2, a)"),
    ],
)
def test_text(expr, text):
    assert str(expr) == text


def test_ceildiv_folds_what_is_exact():
    assert ceildiv(7, 2) is as_expr(4)
    assert ceildiv(-7, 2) is as_expr(-3)
    assert ceildiv(a, 1) is a
    assert ceildiv(0, a) is ZERO
    assert ceildiv(a * b * 6, b * 3) is a * 2
    assert ceildiv(a * b + b, b) is a + 1


def test_ceildiv_keeps_what_is_not_exact():
    assert str(ceildiv(a * 3, 2)) == "ceildiv(3*a, 2)"
    assert str(ceildiv(a + b, b)) == "ceildiv(a + b, b)"
    assert str(ceildiv(a, a + b)) == "ceildiv(a, a + b)"


def test_nested_ceildiv_is_one():
    assert ceildiv(ceildiv(a, b), c) is ceildiv(a, b * c)


def test_ceildiv_by_zero_is_an_error():
    with pytest.raises(ZeroDivisionError, match="a divided by zero"):
        ceildiv(a, 0)


def test_extrema_fold_constants_and_flatten():
    assert minimum(3, 5) is as_expr(3)
    assert maximum(3, 5) is as_expr(5)
    assert minimum(a, a) is a
    assert minimum(minimum(a, 7), b, 5) is minimum(a, b, 5)
    assert str(minimum(maximum(a, 2), 5)) == "min(max(a, 2), 5)"


def test_evaluate_is_exact():
    expr = a * (a + 1) / 2 + fraction(Fraction(17, 32)) * b
    # 17/32 bytes per element of a format with block scales; 3 * 4 / 2 = 6
    assert expr.evaluate({"a": 3, "b": 5}) == 6 + Fraction(17 * 5, 32)
    assert isinstance((a / 2).evaluate({"a": 4}), int)
    big = 10**30
    assert (a * a).evaluate({"a": big}) == big * big
    assert ceildiv(a, 3).evaluate({"a": big + 1}) == -(-(big + 1) // 3)


def test_evaluate_calls():
    binding = {"a": 10, "b": 4}
    assert ceildiv(a, b).evaluate(binding) == 3
    assert minimum(a, b).evaluate(binding) == 4
    assert maximum(a, b, 100).evaluate(binding) == 100
    # 3 of 8 experts are here, 2 of 8 per token, 4 tokens: 3 (1 - (3/4)^4)
    assert hit(3, 8, 2, b).evaluate(binding) == pytest.approx(3 * (1 - 0.75**4))
    assert hit(3, 8, 2, 0).evaluate({}) == 0


def test_tokens_that_choose_all_experts_reach_all():
    assert hit(a, 8, 8, b) is a


def test_an_unbound_symbol_is_an_error():
    with pytest.raises(KeyError, match="b"):
        (a + b).evaluate({"a": 1})


def test_symbols_are_found_inside_calls():
    assert ceildiv(a, minimum(b, 3) + 1).symbols == {"a", "b"}
    assert as_expr(4).symbols == frozenset()


def test_constant():
    assert (a - a + 3).constant == 3
    assert (a / 2 * 0 + fraction(Fraction(1, 2))).constant == Fraction(1, 2)
    assert a.constant is None
    assert (a + 1).constant is None


def test_pickle_gives_the_same_object():
    expr = ceildiv(a * b + 1, 2) * minimum(a, 7) + fraction(Fraction(1, 3))
    assert pickle.loads(pickle.dumps(expr)) is expr


def test_product_and_total():
    assert product([]) is ONE
    assert total([]) is ZERO
    assert product([a, 2, "b"]) is 2 * a * b
    assert total([a, 2, "b"]) is a + b + 2


def test_subtraction_from_a_number():
    assert 1 - a is as_expr(1) + a * -1
    assert Expr({}) is ZERO
