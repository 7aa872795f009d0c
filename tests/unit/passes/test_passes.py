"""What passes do to a whole small model; what they do to single ops is one screen each in tests/filecheck."""

from collections import Counter

import pytest

from gambrel.errors import PlanError
from gambrel.estimation.api import load
from gambrel.estimation.variant import Structure, compile_variant
from gambrel.ir.attention import AttentionOp
from gambrel.ir.dist import ConversionOp, MeshOp
from gambrel.ir.expr import total
from gambrel.ir.kv import CacheOp
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.model import WeightOp
from gambrel.ir.pointwise import CastOp
from gambrel.ir.structure import GroupOp, StageOp
from gambrel.passes.shard import ShardPass, find_strategy
from gambrel.passes.strategies import STRATEGIES


def ops(module, kind):
    return [op for op in module.walk() if isinstance(op, kind)]


def collectives(module):
    return Counter(op.name.removeprefix("dist.") for op in ops(module, ConversionOp))


# Collectives of one prefill: of the embedding, of each block of a layer, of the head.
PREFILL = {
    ("megatron", "tp", False): {"all_reduce": 1 + 2, "all_gather": 1},
    ("megatron", "dp", False): {},
    # embedding and both blocks end split along the sequence, both blocks start whole; the last token has one owner
    ("sequence-parallel", "tp", False): {"reduce_scatter": 1 + 2, "all_gather": 2 + 1, "all_reduce": 1},
    # tokens and their routing are gathered apart
    ("sequence-parallel", "tp", True): {"reduce_scatter": 1 + 2, "all_gather": 3 + 1, "all_reduce": 1},
    # routed and shared experts are summed at once
    ("moe-ep", "tp", True): {"all_reduce": 1 + 2, "all_gather": 1},
    ("attention-dp-moe-ep", "dp,ep", True): {"all_to_all": 2},
    ("attention-dp-moe-ep", "dp,tp,ep", True): {"all_to_all": 2, "all_reduce": 1 + 2, "all_gather": 1},
    # keys and values are gathered; the last token has one owner
    ("megatron", "cp", False): {"all_gather": 2, "all_reduce": 1},
}


@pytest.mark.parametrize(("strategy", "axes", "sparse"), PREFILL.keys())
def test_collectives_of_a_prefill(compiled, strategy, axes, sparse):
    module = compiled(f"shard{{strategy={strategy} axes={axes}}},insert-collectives", sparse=sparse)
    assert collectives(module) == PREFILL[strategy, axes, sparse]


def test_one_device_needs_no_collectives(compiled):
    module = compiled('shard{axes=""},insert-collectives', sparse=True)
    assert collectives(module) == {}
    assert ops(module, MeshOp)[0].axis_names == ()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_decode_never_splits_its_one_token(compiled, strategy):
    module = compiled(f"shard{{strategy={strategy}}}", sparse=True, phase="decode")
    splits = {dim.axes for op in ops(module, EinsumOp) for dim in op.type.dims if dim.size.constant == 1}
    assert splits == {()}


def test_axes_come_with_those_that_they_imply():
    module_axes = {
        ("moe-ep", ("tp",)): ("tp", "tp_ep", "tp_etp"),
        ("moe-ep", ("tp_ep",)): ("tp", "tp_ep", "tp_etp"),
        ("attention-dp-moe-ep", ("ep",)): ("ep", "edp"),
        ("megatron", ("tp", "ep")): ("tp",),
    }
    for (strategy, axes), expected in module_axes.items():
        from xdsl.context import Context
        from xdsl.dialects.builtin import ModuleOp

        module = ModuleOp([])
        ShardPass(strategy, axes).apply(Context(), module)
        assert ops(module, MeshOp)[0].axis_names == expected


def test_unknown_strategies_are_refused():
    with pytest.raises(PlanError, match=r"unknown strategy 'megatrn'\. Did you mean 'megatron'"):
        find_strategy("megatrn")


def test_quantize_leaves_what_checkpoints_leave(compiled):
    module = compiled("quantize{weights=fp8 experts=mxfp4 activations=fp8 kv=int8}", sparse=True)
    formats = {(op.role.data, op.type.format) for op in ops(module, WeightOp)}
    assert formats == {
        ("matmul", "fp8"),
        ("expert", "mxfp4"),
        ("embedding", "bf16"),
        ("head", "bf16"),
        ("router", "bf16"),
        ("norm", "bf16"),
    }
    assert {op.type.format for op in ops(module, CacheOp)} == {"int8"}


def test_quantize_casts_each_value_once(compiled):
    module = compiled("quantize{weights=fp8 activations=fp8}")
    casts = ops(module, CastOp)
    # the inputs of q, k, v; of o; of gate, up; of down
    assert len(casts) == 4
    assert len({cast.x for cast in casts}) == 4


def test_quantize_does_not_cast_for_wide_weights(compiled):
    assert ops(compiled("quantize{activations=fp8}"), CastOp) == []


def test_quantize_reads_fewer_bytes(compiled):
    def weight_bytes(module):
        return total(op.type.local_bytes for op in ops(module, WeightOp) if op.role.data == "matmul")

    assert weight_bytes(compiled("quantize{weights=fp8}")) * 2 is weight_bytes(compiled(""))


def test_quantize_refuses_unknown_formats(compiled):
    with pytest.raises(PlanError, match="activations format: unknown number format 'fp5'"):
        compiled("quantize{activations=fp5}")


def test_stages_wrap_the_layers_only(compiled):
    module = compiled("shard{axes=tp},insert-collectives,stages")
    (stage,) = ops(module, StageOp)
    assert [op.name for op in stage.body.block.ops] == ["structure.repeat", "structure.yield"]
    assert "pp" in ops(module, MeshOp)[0].axis_names


PIPELINES = [
    "",
    "quantize{weights=fp8 activations=fp8},",
    "shard{strategy=sequence-parallel axes=tp},insert-collectives,",
]


@pytest.mark.parametrize("before", PIPELINES)
@pytest.mark.parametrize("sparse", [False, True])
def test_fuse_keeps_every_op_and_its_type(compiled, before, sparse):
    def contents(module):
        work = (EinsumOp, GroupedEinsumOp, AttentionOp, ConversionOp, CastOp, WeightOp)
        return Counter((op.name, str(op.results[0].type)) for op in ops(module, work))

    fused = compiled(before + "fuse", sparse=sparse)
    assert contents(fused) == contents(compiled(before.rstrip(","), sparse=sparse))
    assert ops(fused, GroupOp)


def test_fuse_joins_products_of_one_input(compiled):
    products = [op for op in ops(compiled("fuse"), GroupOp) if op.kind.data == "product"]
    inside = [[op.label for op in group.body.block.ops if isinstance(op, EinsumOp)] for group in products]
    assert inside == [["attn.q", "attn.k", "attn.v"], ["mlp.gate", "mlp.up"]]


def test_fuse_puts_casts_of_what_writes_wide_with_their_products(compiled):
    def joined(apart):
        groups = ops(compiled(f"quantize{{weights=fp8 activations=fp8}},fuse{{apart={apart}}}"), GroupOp)
        products = [group.body.block.ops for group in groups if group.kind.data == "product"]
        return [op.label_attr.data for inner in products for op in inner if isinstance(op, CastOp)]

    assert joined("norm") == ["attn.q.quantize", "mlp.gate.quantize"]
    assert joined("activation") == ["mlp.down.quantize"]
    assert joined("attention") == ["attn.o.quantize"]
    assert len(joined("norm,activation,attention")) == 4


def test_fuse_leaves_the_casts_of_experts_where_they_are_made(compiled):
    module = compiled("quantize{weights=fp8 activations=fp8},fuse{apart=norm,activation,attention}", sparse=True)
    groups = [op for op in ops(module, GroupOp) if any(isinstance(x, GroupedEinsumOp) for x in op.body.block.ops)]
    assert not any(isinstance(op, CastOp) for group in groups for op in group.body.block.ops)


def test_fuse_refuses_unknown_writers(compiled):
    with pytest.raises(PlanError, match="apart: unknown kind of op 'norms'"):
        compiled("fuse{apart=norms}")


def test_a_sum_over_batch_and_width_is_scattered_over_one_and_reduced_over_the_other() -> None:
    structure = Structure(strategy="attention-dp", axes=("tp", "dp"))
    rows = compile_variant(load("llama-3.1-8b"), structure).program.table.rows
    transfers = [(r.name, str(r.kernel.sizes["group"])) for r in rows if r.family == "collective" and r.segment]
    assert [pair for pair in transfers if "mlp" in pair[0]] == 2 * [
        ("all_gather mlp_norm", "dp"),
        ("reduce_scatter mlp.down", "dp"),
        ("all_reduce mlp.down", "tp"),
    ]
