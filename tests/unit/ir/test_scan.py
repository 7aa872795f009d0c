"""Recurrences: what a scan and a convolution give, where they want their operands, and what they refuse."""

from collections.abc import Callable

import pytest
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.kv import StateOp
from gambrel.ir.pointwise import NormOp
from gambrel.ir.scan import Conv1dOp, ScanKind, ScanOp
from gambrel.ir.types import TensorType

Values = Callable[..., list[SSAValue]]
Kind = Callable[[str], TensorType]

Q, V, STATE = "bf16, [b, s, 4, 16]", "bf16, [b, s, 8, 24]", "fp32, [b, 8, 16, 24]"
STEP, HEADS = "bf16, [b, s, 8]", "bf16, [8]"


def scan(values: Values, *texts: str, kind: ScanKind = "gdn", chunk: int = 64) -> ScanOp:
    return ScanOp(kind, *values(*texts), chunk=chunk)  # pyright: ignore[reportArgumentType]


def test_a_scan_gives_what_its_values_are(values: Values, kind: Kind) -> None:
    assert scan(values, Q, Q, V, STATE, STEP, HEADS).type == kind(V)


def test_a_scan_follows_the_placement_of_its_state(values: Values, kind: Kind) -> None:
    op = scan(values, Q, Q, "bf16, [b, s{cp}, 8, 24]", "fp32, [b{dp}, 8{tp}, 16, 24]", "bf16, [b, s{cp}, 8]", HEADS)
    assert list(op.accept()) == [
        kind("bf16, [b{dp}, s, 4{tp}, 16]"),
        kind("bf16, [b{dp}, s, 4{tp}, 16]"),
        kind("bf16, [b{dp}, s, 8{tp}, 24]"),
        kind("fp32, [b{dp}, 8{tp}, 16, 24]"),
        kind("bf16, [b{dp}, s, 8{tp}]"),
        kind("bf16, [8{tp}]"),
    ]


def test_the_one_group_of_all_heads_is_on_every_device(values: Values, kind: Kind) -> None:
    one = "bf16, [b, s, 1, 16]"
    op = scan(values, one, one, V, "fp32, [b, 8{tp}, 16, 24]")
    assert op.accept()[0] == kind(one)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((Q, "bf16, [b, s, 4, 8]", V, STATE), "differ in shape"),
        ((Q, Q, V, "fp32, [b, 8, 24, 16]"), "key width"),
        ((Q, Q, V, "fp32, [b, 4, 16, 24]"), "heads"),
        ((Q, Q, "bf16, [b, 1, 8, 24]", STATE), "tokens"),
        (("bf16, [b, s, 3, 16]", "bf16, [b, s, 3, 16]", V, STATE), "8 heads are not a multiple of 3 groups"),
        ((Q, Q, V, STATE, "bf16, [b, s, 4]"), "heads"),
        ((Q, Q, V, STATE, "bf16, [b, 8]"), "a control is"),
    ],
)
def test_a_scan_whose_operands_do_not_fit_is_refused(values: Values, texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(VerifyException, match=message):
        scan(values, *texts)


def test_an_unknown_recurrence_is_refused(values: Values) -> None:
    op = scan(values, Q, Q, V, STATE)
    op.properties["kind"] = StringAttr("rwkv")
    with pytest.raises(VerifyException, match="known: gdn, mamba2"):
        op.infer()


def test_flops_of_the_chunked_delta_rule(values: Values) -> None:
    n, p, c = 16, 24, 48
    inside = 2 * c * n + c * c // 3 + 2 * c * (n + p) + 2 * c * n + 2 * c * p
    assert scan(values, Q, Q, V, STATE, chunk=c).flops.evaluate({"b": 3, "s": 96}) == 3 * 96 * 8 * (6 * n * p + inside)


def test_flops_of_the_chunked_state_space(values: Values) -> None:
    n, p, c, heads, groups = 16, 24, 48, 8, 4
    each_head, each_group = 4 * n * p + 2 * c * p, 2 * c * n
    op = scan(values, Q, Q, V, STATE, kind="mamba2", chunk=c)
    assert op.flops.evaluate({"b": 3, "s": 96}) == 3 * 96 * (heads * each_head + groups * each_group)


@pytest.mark.parametrize(("kind", "each"), [("gdn", 7), ("mamba2", 5)])
def test_flops_of_one_step(values: Values, kind: ScanKind, each: int) -> None:
    one = "bf16, [b, 1, 4, 16]"
    op = scan(values, one, one, "bf16, [b, 1, 8, 24]", STATE, kind=kind)
    assert op.decode
    assert op.flops.evaluate({"b": 3}) == 3 * 8 * 16 * 24 * each


@pytest.mark.parametrize("kind", ["gdn", "mamba2"])
def test_tp_divides_the_flops_until_groups_repeat(values: Values, kind: ScanKind) -> None:
    split = [
        "bf16, [b, s, 4{tp}, 16]",
        "bf16, [b, s, 4{tp}, 16]",
        "bf16, [b, s, 8{tp}, 24]",
        "fp32, [b, 8{tp}, 16, 24]",
    ]
    op = scan(values, *split, kind=kind)
    at = {tp: op.flops.evaluate({"b": 1, "s": 64, "tp": tp}) for tp in (1, 2, 4, 8)}
    assert at[1] == 2 * at[2] == 4 * at[4]
    repeated = 64 * 2 * 64 * 16 // 2 if kind == "mamba2" else 0  # half a group's scores that each of 8 devices repeats
    assert at[8] == at[4] / 2 + repeated


X, FILTER, TAIL, BIAS = "bf16, [b, s, 8, 24]", "bf16, [8, 24, 4]", "bf16, [b, 8, 24, 3]", "bf16, [8, 24]"


def test_a_convolution_keeps_its_operand_and_follows_its_state(values: Values, kind: Kind) -> None:
    op = Conv1dOp(*values(X, FILTER, TAIL, BIAS), activation="silu")
    assert op.type == kind(X)
    assert op.flops.evaluate({"b": 2, "s": 10}) == 2 * 10 * 8 * 24 * 4 * 2
    placed = Conv1dOp(*values("bf16, [b{dp}, s{cp}, 8, 24]", FILTER, "bf16, [b{dp}, 8{tp}, 24, 3]", BIAS))
    assert list(placed.accept()) == [
        kind("bf16, [b{dp}, s, 8{tp}, 24]"),
        kind("bf16, [8{tp}, 24, 4]"),
        kind("bf16, [b{dp}, 8{tp}, 24, 3]"),
        kind("bf16, [8{tp}, 24]"),
    ]


@pytest.mark.parametrize(
    ("texts", "activation", "message"),
    [
        ((X, "bf16, [8, 16, 4]", TAIL), None, "does not fit"),
        ((X, FILTER, "bf16, [b, 8, 24, 4]"), None, "does not hold the tokens before"),
        ((X, FILTER, TAIL, "bf16, [4, 24]"), None, "does not fit"),
        ((X, FILTER, TAIL), "tanh", "known: silu"),
    ],
)
def test_a_bad_convolution_is_refused(values: Values, texts: tuple[str, ...], activation: str, message: str) -> None:
    with pytest.raises(VerifyException, match=message):
        Conv1dOp(*values(*texts), activation=activation)


@pytest.mark.parametrize(
    ("text", "dims", "message"),
    [
        ("fp32, [b, 8, s, 24]", ["batch", "heads", "seq", "value"], "kv.cache is what grows"),
        ("fp32, [b, 8] partial{tp}", ["batch", "heads"], "cannot be partial"),
        ("fp32, [b, 8]", ["batch"], "1 dim names"),
    ],
)
def test_a_state_that_is_none_is_refused(kind: Kind, text: str, dims: list[str], message: str) -> None:
    with pytest.raises(VerifyException, match=message):
        StateOp("gdn.state", kind(text), dims).verify_()


def test_a_norm_in_groups_keeps_the_split_of_its_first_dim(values: Values, kind: Kind) -> None:
    placed, scale = "bf16, [b, s, 8{tp}, 16]", "bf16, [8, 16]"
    grouped = NormOp("rms", *values(placed, scale), dims=2, groups=4)
    assert list(grouped.accept()) == [kind(placed), kind("bf16, [8{tp}, 16]")]
    whole = NormOp("rms", *values(placed, scale), dims=2)
    assert list(whole.accept()) == [kind("bf16, [b, s, 8, 16]"), kind(scale)]
    with pytest.raises(VerifyException, match="8 does not fall into 3 groups"):
        NormOp("rms", *values(placed, scale), dims=2, groups=3)
