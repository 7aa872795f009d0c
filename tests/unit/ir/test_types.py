from fractions import Fraction

import pytest
from xdsl.utils.exceptions import ParseError, VerifyException

from gambrel.ir.expr import as_expr, ceildiv
from gambrel.ir.formats import FORMATS
from gambrel.ir.op import overlap, without
from gambrel.ir.types import Dim, TensorType

TEXTS = [
    "bf16, []",
    "i32, [b, s]",
    "bf16, [b{dp}, s{cp}, 8192] partial{tp}",
    "fp8, [2*b*s{dp, tp}, 64]",
    "bf16, [c + s{cp}, min(s, 4096)]",
    "fp8_block, [ceildiv(s, tp), 64] partial{dp, tp}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_prints_what_it_parsed(kind, text):
    assert str(kind(text)) == f"!model.t<{text}>"


def test_terms_are_printed_in_one_order(kind):
    assert kind("bf16, [s + c, 3*s*b*2]") == kind("bf16, [c + s, 6*b*s]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bf16, [b{tp}, s{tp}]", "mesh axis 'tp' is used twice"),
        ("bf16, [b{tp}] partial{tp}", "mesh axis 'tp' is used twice"),
        ("bf16, [b{tq}]", "unknown mesh axis 'tq'; known: dp"),
        ("bf17, [b]", "unknown number format 'bf17'"),
    ],
)
def test_wrong_types_are_refused(kind, text, message):
    with pytest.raises(VerifyException, match=message):
        kind(text)


@pytest.mark.parametrize("text", ["bf16", "bf16, [b", "bf16, [b +]", "bf16, [ceildiv(b)]", "bf16, [b] partial"])
def test_text_that_is_no_type_is_refused(kind, text):
    with pytest.raises(ParseError):
        kind(text)


def test_local_size_rounds_up_over_all_axes(kind):
    dim = kind("bf16, [s{cp, tp}]").dims[0]
    assert dim.local is ceildiv("s", as_expr("cp") * "tp")
    assert dim.local.evaluate({"s": 10, "cp": 2, "tp": 2}) == 3


def test_local_bytes_count_block_scales(kind):
    got = kind("mxfp4, [b{dp}, 64]").local_bytes
    # 4 bits an element and 8 bits of scale for 32 of them
    assert got.evaluate({"b": 8, "dp": 2}) == 4 * 64 * Fraction(4 * 32 + 8, 32 * 8)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("bf16", 16),
        ("fp8_block", 8 + Fraction(32, 128 * 128)),
        ("int4", 4 + Fraction(20, 128)),
        ("mxfp4", 4 + Fraction(8, 32)),
        ("nvfp4", 4 + Fraction(8, 16)),
    ],
)
def test_bytes_per_element(name, bits):
    assert FORMATS[name].bytes_per_element == Fraction(bits) / 8


def test_a_sum_over_both_parts_of_tp_is_a_sum_over_tp():
    kind = TensorType.of("bf16", ["b"], ["tp_ep", "dp", "tp_etp"])
    assert kind.partial == ("dp", "tp")


def test_complete_keeps_the_split(kind):
    assert kind("bf16, [b{dp}, s] partial{tp}").complete() == kind("bf16, [b{dp}, s]")


def test_with_dims_forgets_open_sums_unless_told(kind):
    partial = kind("bf16, [b] partial{tp}")
    assert partial.with_dims(["s"]) == kind("bf16, [s]")
    assert partial.with_dims([Dim(as_expr("s"), ("dp",))], partial.partial) == kind("bf16, [s{dp}] partial{tp}")


@pytest.mark.parametrize(
    ("left", "right", "shared"),
    [
        ("tp", "tp", True),
        ("tp", "tp_ep", True),
        ("tp_ep", "tp_etp", False),
        ("tp", "dp", False),
        ("ep", "edp", False),
        ("ep", "tp", True),
        ("dp", "edp", True),
        ("ep", "pp", False),
    ],
)
def test_which_axes_share_devices(left, right, shared):
    assert overlap(left, right) is shared
    assert overlap(right, left) is shared


def test_without_removes_all_that_overlap():
    assert without(("dp", "tp_ep", "tp_etp"), ("tp",)) == ("dp",)
    assert without(("dp", "tp"), ("ep",)) == ()
