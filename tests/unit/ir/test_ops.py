"""Each op: what it gives for accepted operands, where it wants its operands, and what it refuses."""

import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Region
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.attention import AttentionOp
from gambrel.ir.dist import AllGatherOp, AllToAllOp, MeshOp, PermuteOp
from gambrel.ir.experts import CombineOp, DispatchOp, RouteOp
from gambrel.ir.expr import as_expr, ceildiv
from gambrel.ir.kv import AppendOp, CacheOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.model import InputOp, WeightOp
from gambrel.ir.pointwise import MAPS, CastOp, ConcatOp, MapOp, MomentsOp, NormalizeOp, NormOp, RopeOp, SliceOp
from gambrel.ir.structure import GroupOp, PhaseOp, RepeatOp, StageOp, YieldOp
from gambrel.ir.tokens import EmbedOp, SampleOp, TakeLastOp

# What the op gives: operands, op, result.
INFER = {
    "einsum keeps the split of kept letters": (
        ["bf16, [b{dp}, s, 64]", "bf16, [64, 8{tp}, 16]"],
        lambda x, w: EinsumOp("bsd,dhe->bshe", x, w),
        "bf16, [b{dp}, s, 8{tp}, 16]",
    ),
    "einsum is partial over a contracted split": (
        ["bf16, [b, 256{tp}]", "bf16, [256{tp}, 64]"],
        lambda x, w: EinsumOp("bf,fd->bd", x, w),
        "bf16, [b, 64] partial{tp}",
    ),
    "einsum of narrow operands is wide": (
        ["fp8, [b, 64]", "fp8, [64, 32]"],
        lambda x, w: EinsumOp("bd,df->bf", x, w),
        "bf16, [b, 32]",
    ),
    "einsum with a batch letter": (
        ["bf16, [b, 1, 8{tp}, 32]", "bf16, [64, 8{tp}, 32]"],
        lambda x, w: EinsumOp("bshn,rhn->bshr", x, w),
        "bf16, [b, 1, 8{tp}, 64]",
    ),
    "grouped einsum keeps its rows": (
        ["bf16, [r{tp_ep}, 64]", "bf16, [8{tp_ep}, 64, 32{tp_etp}]"],
        lambda x, w: GroupedEinsumOp(x, w, top_k=2),
        "bf16, [r{tp_ep}, 32{tp_etp}]",
    ),
    "grouped einsum is partial over a contracted split": (
        ["bf16, [r{tp_ep}, 32{tp_etp}]", "bf16, [8{tp_ep}, 32{tp_etp}, 64]", "bf16, [8{tp_ep}, 64]"],
        lambda x, w, bias: GroupedEinsumOp(x, w, bias, top_k=2),
        "bf16, [r{tp_ep}, 64] partial{tp_etp}",
    ),
    "attention has the queries' place and the values' width": (
        ["bf16, [b, s{cp}, 8{tp}, 16]", "fp8, [b, c + s, 2{tp}, 16]", "fp8, [b, c + s, 2{tp}, 24]"],
        AttentionOp,
        "bf16, [b, s{cp}, 8{tp}, 24]",
    ),
    "attention is partial over split keys": (
        ["bf16, [b, 1, 8, 16]", "bf16, [b, 1 + c{cp}, 2, 16]", "bf16, [b, 1 + c{cp}, 2, 16]"],
        AttentionOp,
        "bf16, [b, 1, 8, 16] partial{cp}",
    ),
    "a linear map keeps open sums": (
        ["bf16, [b] partial{tp}", "bf16, [b] partial{tp}"],
        lambda x, y: MapOp("add", x, y),
        "bf16, [b] partial{tp}",
    ),
    "a bias lacks leading dims": (
        ["bf16, [b, s, 64{tp}]", "bf16, [64{tp}]"],
        lambda x, y: MapOp("bias", x, y),
        "bf16, [b, s, 64{tp}]",
    ),
    "a gate has dims of size 1": (
        ["bf16, [b, s, 64{tp}]", "bf16, [b, s, 1]"],
        lambda x, y: MapOp("sigmoid_mul", x, y),
        "bf16, [b, s, 64{tp}]",
    ),
    "norm": (["bf16, [b{dp}, 64]", "bf16, [64]"], lambda x, w: NormOp("rms", x, w), "bf16, [b{dp}, 64]"),
    "moments are partial over what splits the row": (
        ["bf16, [b{dp}, 8{tp}, 16]"],
        lambda x: MomentsOp("layer", x, dims=2),
        "fp32, [b{dp}, 2] partial{tp}",
    ),
    "normalize keeps the split of the row": (
        ["bf16, [b{dp}, 8{tp}, 16]", "fp32, [b{dp}, 1]", "bf16, [8{tp}, 16]"],
        lambda x, m, w: NormalizeOp("rms", x, m, w, dims=2),
        "bf16, [b{dp}, 8{tp}, 16]",
    ),
    "rope": (["bf16, [b, s, 8{tp}, 16]"], lambda x: RopeOp(x, 8), "bf16, [b, s, 8{tp}, 16]"),
    "cast keeps the place": (["bf16, [b{dp}]"], lambda x: CastOp(x, "fp8"), "fp8, [b{dp}]"),
    "slice": (["bf16, [b{dp}, 576]"], lambda x: SliceOp(x, 1, 64), "bf16, [b{dp}, 64]"),
    "concat repeats dims of size 1": (
        ["bf16, [b, 8{tp}, 128]", "bf16, [b, 1, 64]"],
        ConcatOp,
        "bf16, [b, 8{tp}, 192]",
    ),
    "embed is partial over split rows": (
        ["i32, [b{dp}, s]", "bf16, [512{tp}, 64]"],
        EmbedOp,
        "bf16, [b{dp}, s, 64] partial{tp}",
    ),
    "take_last is partial over a split sequence": (
        ["bf16, [b{dp}, s{cp}, 64]"],
        TakeLastOp,
        "bf16, [b{dp}, 1, 64] partial{cp}",
    ),
    "sample": (["bf16, [b{dp}, 1, 512]"], SampleOp, "i32, [b{dp}, 1]"),
    "route": (["bf16, [b{dp}, s, 8]"], lambda x: RouteOp(x, top_k=2), "i32, [b{dp}, s, 2]"),
    "dispatch copies tokens to rows": (
        ["bf16, [b{dp}, s, 64]", "i32, [b{dp}, s, 2]"],
        lambda x, r: DispatchOp(x, r, ["tp"]),
        "bf16, [2*b*s{dp, tp}, 64]",
    ),
    "combine is partial over select and the rows' open sums": (
        ["bf16, [2*b*s{tp_ep}, 64] partial{tp_etp}", "i32, [b, s, 2]"],
        lambda x, r: CombineOp(x, r, ["tp_ep"]),
        "bf16, [b, s, 64] partial{tp}",
    ),
    "append": (
        ["fp8, [b, c{cp}, 2{tp}, 16]", "bf16, [b, s{cp}, 2{tp}, 16]"],
        AppendOp,
        "fp8, [b, c + s{cp}, 2{tp}, 16]",
    ),
}


@pytest.mark.parametrize(("operands", "build", "result"), INFER.values(), ids=INFER.keys())
def test_infers(values, kind, operands, build, result):
    op = build(*values(*operands))
    assert op.type == kind(result)
    op.verify()


# Where the op wants operands that are elsewhere: operands, op, wanted (None where an operand stays as it is).
ACCEPT = {
    "einsum: left follows right on shared letters": (
        ["bf16, [b, 256]", "bf16, [256{tp}, 64]"],
        lambda x, w: EinsumOp("bf,fd->bd", x, w),
        ["bf16, [b, 256{tp}]", None],
    ),
    "einsum: left frees the axes that right splits others with": (
        ["bf16, [b, s{cp, tp}, 64]", "bf16, [64, 8{tp}]"],
        lambda x, w: EinsumOp("bsd,dh->bsh", x, w),
        ["bf16, [b, s{cp}, 64]", None],
    ),
    "grouped einsum: rows go to their experts": (
        ["bf16, [r{dp, tp}, 64]", "bf16, [8{ep}, 64, 32]"],
        lambda x, w: GroupedEinsumOp(x, w, top_k=2),
        ["bf16, [r{ep, edp}, 64]", None],
    ),
    "attention: keys are gathered where queries are split": (
        ["bf16, [b, s{cp}, 8, 16]", "bf16, [b, c + s{cp}, 2, 16]", "bf16, [b, c + s{cp}, 2, 16]"],
        AttentionOp,
        [None, "bf16, [b, c + s, 2, 16]", "bf16, [b, c + s, 2, 16]"],
    ),
    "attention: one shared key is on every device": (
        ["bf16, [b, 1, 8{tp}, 16]", "bf16, [b, 1 + c, 1, 16]", "bf16, [b, 1 + c, 1, 16]"],
        AttentionOp,
        [None, None, None],
    ),
    "map: sums are closed before a function that is not linear": (
        ["bf16, [b] partial{tp}"],
        lambda x: MapOp("silu", x),
        ["bf16, [b]"],
    ),
    "map: sums over different axes do not add": (
        ["bf16, [b] partial{tp}", "bf16, [b]"],
        lambda x, y: MapOp("add", x, y),
        ["bf16, [b]", None],
    ),
    "norm: the normalised dim is whole": (
        ["bf16, [b{dp}, 64{tp}]", "bf16, [64]"],
        lambda x, w: NormOp("rms", x, w),
        ["bf16, [b{dp}, 64]", None],
    ),
    "norm: so are two": (
        ["bf16, [b, 8{tp}, 16]"],
        lambda x: NormOp("rms", x, dims=2),
        ["bf16, [b, 8, 16]"],
    ),
    "normalize: moments are complete, the scale is split as the row": (
        ["bf16, [b{dp}, 64{tp}]", "fp32, [b, 1] partial{tp}", "bf16, [64]"],
        lambda x, m, w: NormalizeOp("rms", x, m, w),
        [None, "fp32, [b{dp}, 1]", "bf16, [64{tp}]"],
    ),
    "slice: the cut dim is whole": (
        ["bf16, [b{dp}, 64{tp}]"],
        lambda x: SliceOp(x, 1, 32),
        ["bf16, [b{dp}, 64]"],
    ),
    "concat: the joined dim is whole, the others follow the left": (
        ["bf16, [b{dp}, 64{tp}]", "bf16, [b, 32]"],
        ConcatOp,
        ["bf16, [b{dp}, 64]", "bf16, [b{dp}, 32]"],
    ),
    "sample: the vocabulary is whole": (["bf16, [b, 1, 512{tp}]"], SampleOp, ["bf16, [b, 1, 512]"]),
    "route: the scores of a token are on one device": (
        ["bf16, [b, s, 8{tp}]"],
        lambda x: RouteOp(x, top_k=2),
        ["bf16, [b, s, 8]"],
    ),
    "dispatch: tokens are whole over select": (
        ["bf16, [b{dp}, s{tp}, 64]", "i32, [b{dp}, s{tp}, 2]"],
        lambda x, r: DispatchOp(x, r, ["tp"]),
        ["bf16, [b{dp}, s, 64]", "i32, [b{dp}, s, 2]"],
    ),
    "combine: rows are back where their tokens are": (
        ["bf16, [2*b*s{ep, edp}, 64]", "i32, [b{dp}, s, 2]"],
        lambda x, r: CombineOp(x, r, ["tp"]),
        ["bf16, [2*b*s{dp, tp}, 64]", None],
    ),
    "append: new tokens are placed like the cache": (
        ["bf16, [b{dp}, c, 2{tp}, 16]", "bf16, [b{dp}, s{cp}, 2, 16]"],
        AppendOp,
        [None, "bf16, [b{dp}, s, 2{tp}, 16]"],
    ),
}


@pytest.mark.parametrize(("operands", "build", "wanted"), ACCEPT.values(), ids=ACCEPT.keys())
def test_accepts(values, kind, operands, build, wanted):
    targets = [want or have for want, have in zip(wanted, operands, strict=True)]
    op = build(*values(*targets))
    op.verify()
    op.operands = values(*operands)
    assert list(op.accept()) == [kind(target) for target in targets]
    if any(wanted):
        with pytest.raises(VerifyException, match="a collective is missing before it"):
            op.verify()


# What does not fit: operands, op, message.
REFUSED = {
    "normalize by the moments of other rows": (
        ["bf16, [b, s, 64]", "fp32, [b, 1]"],
        lambda x, m: NormalizeOp("rms", x, m),
        "are not those of the rows",
    ),
    "moments of an unknown norm": (["bf16, [b, 64]"], lambda x: MomentsOp("batch", x), "unknown norm 'batch'"),
    "einsum without arrow": (["bf16, [b]", "bf16, [b]"], lambda x, y: EinsumOp("b,b", x, y), "not of the form"),
    "einsum of another rank": (["bf16, [b]", "bf16, [b]"], lambda x, y: EinsumOp("bc,b->c", x, y), "the left operand"),
    "einsum out of nothing": (["bf16, [b]", "bf16, [b]"], lambda x, y: EinsumOp("b,b->c", x, y), "'c' out of nothing"),
    "einsum of two sizes": (
        ["bf16, [b, 64]", "bf16, [32, 8]"],
        lambda x, y: EinsumOp("bd,df->bf", x, y),
        "size of 'd' is 64 in one operand and 32",
    ),
    "grouped einsum of two sizes": (
        ["bf16, [r, 64]", "bf16, [8, 32, 16]"],
        lambda x, w: GroupedEinsumOp(x, w, top_k=2),
        "size of 'k' is 64",
    ),
    "grouped einsum with a bias of another size": (
        ["bf16, [r, 64]", "bf16, [8, 64, 16]", "bf16, [8, 64]"],
        lambda x, w, bias: GroupedEinsumOp(x, w, bias, top_k=2),
        "does not fit the experts",
    ),
    "attention of 3 dims": (["bf16, [b, 1, 8]"] * 3, AttentionOp, "q must have 4 dims"),
    "attention heads": (
        ["bf16, [b, 1, 8, 16]", "bf16, [b, c, 3, 16]", "bf16, [b, c, 3, 16]"],
        AttentionOp,
        "8 query heads are not a multiple of 3 key heads",
    ),
    "attention widths": (
        ["bf16, [b, 1, 8, 16]", "bf16, [b, c, 2, 32]", "bf16, [b, c, 2, 32]"],
        AttentionOp,
        "size of 'head_dim'",
    ),
    "attention keys": (
        ["bf16, [b, 1, 8, 16]", "bf16, [b, c, 2, 16]", "bf16, [b, s, 2, 16]"],
        AttentionOp,
        "size of 'keys'",
    ),
    "map of another shape": (
        ["bf16, [b, 64]", "bf16, [32]"],
        lambda x, y: MapOp("mul", x, y),
        "shapes do not fit",
    ),
    "norm of another kind": (["bf16, [b, 64]"], lambda x: NormOp("max", x), "unknown norm 'max'"),
    "norm scale": (["bf16, [b, 64]", "bf16, [32]"], lambda x, w: NormOp("rms", x, w), "does not fit"),
    "rope wider than a head": (["bf16, [b, s, 8, 16]"], lambda x: RopeOp(x, 32), "32 of 16 elements"),
    "cast to an unknown format": (["bf16, [b]"], lambda x: CastOp(x, "fp7"), "unknown number format 'fp7'"),
    "slice of another dim": (["bf16, [b, 64]"], lambda x: SliceOp(x, 2, 8), "dim 2 is not in"),
    "slice of too much": (["bf16, [b, 64]"], lambda x: SliceOp(x, 1, 65), "slice of 65 from 64"),
    "concat of other dims": (["bf16, [b, 64]", "bf16, [s, 64]"], ConcatOp, "shapes do not fit"),
    "route of too many": (["bf16, [b, s, 8]"], lambda x: RouteOp(x, top_k=9), "top 9 of 8 experts"),
    "dispatch of other tokens": (
        ["bf16, [b, s, 64]", "i32, [b, c, 2]"],
        DispatchOp,
        "size of 'sequence'",
    ),
    "combine of other rows": (["bf16, [b, 64]", "i32, [b, s, 2]"], CombineOp, "do not belong to routing"),
    "append of another width": (
        ["bf16, [b, c, 2, 16]", "bf16, [b, s, 2, 32]"],
        AppendOp,
        "do not fit the cache",
    ),
    "take_last of 2 dims": (["bf16, [b, 64]"], TakeLastOp, "x must have 3 dims"),
}


@pytest.mark.parametrize(("operands", "build", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(values, operands, build, message):
    with pytest.raises(VerifyException, match=message):
        build(*values(*operands))


@pytest.mark.parametrize(("fn", "number", "message"), [("sillu", 1, "Did you mean 'silu'"), ("add", 1, "takes 2")])
def test_map_refuses_unknown_functions_and_wrong_numbers_of_operands(values, fn, number, message):
    op = MapOp("silu", *values("bf16, [b]"))
    op.properties["fn"] = StringAttr(fn)
    with pytest.raises(VerifyException, match=message):
        op.verify()


@pytest.mark.parametrize("fn", MAPS)
def test_every_map_builds(values, fn):
    op = MapOp(fn, *values(*["bf16, [b, 64]"] * MAPS[fn].operands))
    op.verify()
    assert op.function.flops > 0


def test_a_wrong_result_type_is_an_error(values, kind):
    op = NormOp("rms", *values("bf16, [b, 64]"))
    op.results[0]._type = kind("bf16, [b, 32]")
    with pytest.raises(VerifyException, match="but the operands give"):
        op.verify()


def test_einsum_shape_is_per_device(values):
    op = EinsumOp("bsd,dhe->bshe", *values("bf16, [b{dp}, s, 64]", "bf16, [64, 8{tp}, 16]"))
    assert op.shape.batch.constant == 1
    assert op.shape.m is ceildiv("b", "dp") * "s"
    assert op.shape.n is ceildiv(8, "tp") * 16
    assert op.shape.k.constant == 64
    assert op.shape.flops.evaluate({"b": 4, "dp": 2, "s": 10, "tp": 4}) == 2 * (4 // 2 * 10) * (8 // 4 * 16) * 64


def test_grouped_einsum_knows_the_tokens_of_its_experts(values):
    op = GroupedEinsumOp(*values("bf16, [2*b*s{ep, edp}, 64]", "bf16, [8{ep}, 64, 32]"), top_k=2)
    assert op.experts.local is ceildiv(8, "ep")
    # two rows a token; edp copies of the experts share the tokens
    assert op.tokens is ceildiv(as_expr("b") * "s", "edp")


def test_attention_pairs_of_causal_prefill(values):
    q, k, v = values("bf16, [b, s, 8, 16]", "bf16, [b, c + s, 8, 16]", "bf16, [b, c + s, 8, 16]")
    op = AttentionOp(q, k, v)
    binding = {"b": 3, "s": 5, "c": 7}
    # token i of the new ones sees the cached ones, the new ones before it and itself
    assert op.pairs("served").evaluate(binding) == sum(7 + i + 1 for i in range(5))
    assert op.pairs("hf-dense").evaluate(binding) == 5 * (7 + 5)
    assert op.flops("served").evaluate(binding) == 3 * 8 * sum(7 + i + 1 for i in range(5)) * (16 + 16) * 2


@pytest.mark.parametrize("cached", [0, 2, 9])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_attention_pairs_in_a_window(values, cached, window):
    op = AttentionOp(*values("bf16, [b, s, 8, 16]", *["bf16, [b, c + s, 8, 16]"] * 2), window=window)
    expected = sum(min(cached + i + 1, window) for i in range(5))
    assert op.pairs("served").evaluate({"s": 5, "c": cached}) == expected


def test_attention_of_one_new_token(values):
    op = AttentionOp(*values("bf16, [b, 1, 8, 16]", *["bf16, [b, 1 + c, 8, 16]"] * 2), window=4)
    assert op.pairs("served").evaluate({"c": 9}) == 4
    assert op.pairs("hf-dense").evaluate({"c": 9}) == 4
    assert op.keys.evaluate({"c": 9}) == 4
    assert op.keys.evaluate({"c": 2}) == 3


def test_attention_without_a_mask_sees_everything(values):
    op = AttentionOp(*values("bf16, [b, s, 8, 16]", *["bf16, [b, t, 8, 16]"] * 2), causal=False)
    assert op.pairs("served") is as_expr("s") * "t"


def test_declarations_name_every_dim(kind):
    for op in (WeightOp("w", "matmul", ["hidden"], kind("bf16, [64, 32]")), InputOp("x", [], kind("bf16, [64]"))):
        with pytest.raises(VerifyException, match="dim names for"):
            op.verify()
    with pytest.raises(VerifyException, match="a weight cannot be partial"):
        WeightOp("w", "matmul", ["hidden"], kind("bf16, [64] partial{tp}")).verify()


def test_a_cache_has_four_dims_and_is_complete(kind):
    with pytest.raises(VerifyException, match="4 dims"):
        CacheOp("k", kind("bf16, [b, c, 16]"), ["batch", "cache", "head_dim"]).verify()
    names = ["batch", "cache", "kv_heads", "head_dim"]
    with pytest.raises(VerifyException, match="cannot be partial"):
        CacheOp("k", kind("bf16, [b, c, 2, 16] partial{tp}"), names).verify()


@pytest.mark.parametrize(("axes", "message"), [(["tq"], "unknown mesh axis 'tq'"), (["tp", "tp"], "declared twice")])
def test_mesh_axes_are_known_and_named_once(axes, message):
    with pytest.raises(VerifyException, match=message):
        MeshOp("megatron", axes).verify()


def test_which_axes_exchange_data(values, kind):
    (x,) = values("bf16, [b{dp, tp}, 64]")
    assert AllGatherOp(x, kind("bf16, [b{dp}, 64]")).axes == ("tp",)
    assert AllToAllOp(x, kind("bf16, [b{dp}, 64{tp}]")).axes == ("tp",)
    assert AllToAllOp(x, kind("bf16, [b{ep, edp}, 64]")).axes == ("ep",)
    assert PermuteOp(x, "pp").axes == ("pp",)


def body(*args, ops=()):
    return Region(Block(arg_types=args, ops=ops))


def test_regions_end_with_a_yield(kind):
    with pytest.raises(VerifyException, match="is not a terminator"):
        PhaseOp("decode", body(ops=[InputOp("x", ["batch"], kind("bf16, [b]"))])).verify()


def test_phases_have_known_names():
    with pytest.raises(VerifyException, match="unknown phase 'train'"):
        PhaseOp("train", body(ops=[YieldOp()])).verify()  # pyright: ignore[reportArgumentType]  # as text may say it


def test_repeat_carries_values_of_one_type(values, kind):
    (x,) = values("bf16, [b]")
    region = body(kind("bf16, [b{dp}]"))
    region.block.add_op(YieldOp(region.block.args[0]))
    with pytest.raises(VerifyException, match="must keep their types"):
        RepeatOp(as_expr(4), [x], region).verify()


def test_stage_and_group_hand_out_what_they_yield(values, kind):
    (x,) = values("bf16, [b]")
    with pytest.raises(VerifyException, match="the yielded types differ"):
        GroupOp("pointwise", body(ops=[YieldOp(x)]), [kind("bf16, [s]")]).verify()
    with pytest.raises(VerifyException, match="must keep their types"):
        StageOp([x], body(ops=[YieldOp(x)]), [kind("bf16, [s]")]).verify()
    with pytest.raises(VerifyException, match="the yielded types differ"):
        StageOp([x], body(ops=[YieldOp()]), [kind("bf16, [b]")]).verify()


def test_a_module_may_be_empty():
    ModuleOp([]).verify()
