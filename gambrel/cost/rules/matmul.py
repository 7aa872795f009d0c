"""Matrix products, alone or with joined columns and a bias as epilogue."""

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import SSAValue

from gambrel.cost.kernel import Gemm, GroupedGemm
from gambrel.cost.rows import KernelSpec
from gambrel.cost.rules.registry import Draft, bytes_of, product_rate, rule
from gambrel.ir.expr import Expr, hit, total
from gambrel.ir.matmul import EinsumOp, GroupedEinsumOp
from gambrel.ir.pointwise import CastOp
from gambrel.ir.types import tensor

GEMM_FORMULA = "GEMM m n k over tiles, waves and splits; docs/explanation/cost-model.md, 'GEMM'"
GROUPED_FORMULA = "grouped GEMM over the experts that are hit, e (1 - (1 - k/e)^t); docs/explanation/cost-model.md"


@rule(EinsumOp)
def einsum(op: EinsumOp) -> Draft:
    """A GEMM: 2 b m n k FLOPs; reads both operands, writes the result."""
    return products([op])


@rule(GroupedEinsumOp)
def grouped_einsum(op: GroupedEinsumOp) -> Draft:
    """A grouped GEMM: 2 rows n k FLOPs; reads the rows and the weights of the experts that are hit."""
    return products([op])


def products(ops: Sequence[EinsumOp | GroupedEinsumOp]) -> Draft:
    """One kernel for products that share their left operand: the columns are joined, `n = sum of n`."""
    first = ops[0]
    if isinstance(first, GroupedEinsumOp):
        return _grouped([op for op in ops if isinstance(op, GroupedEinsumOp)])
    return _dense([op for op in ops if isinstance(op, EinsumOp)])


def quantised(made: Draft, cast: CastOp) -> Draft:
    """A product whose call narrows its activations first, by another kernel: read wide, written and read narrow."""
    wide, narrow = tensor(cast.x), cast.type
    reads = {**made.reads, cast.x: wide.local_bytes}
    spec = replace(made.kernel, constants={**made.kernel.constants, "quantized_from_bytes": bytes_of(wide.format)})
    return replace(made, kernel=spec, reads=reads, writes={**made.writes, cast.res: narrow.local_bytes})


def _dense(ops: Sequence[EinsumOp]) -> Draft:
    shape = ops[0].shape
    left, right, out = tensor(ops[0].lhs), tensor(ops[0].rhs), ops[0].type
    rate = product_rate(left.format, right.format)
    sizes = {"m": shape.m, "n": total(op.shape.n for op in ops), "k": shape.k, "batch": shape.batch}
    reads = {ops[0].lhs: left.local_bytes, **{op.rhs: tensor(op.rhs).local_bytes for op in ops}}
    return Draft(
        family="gemm",
        kernel=KernelSpec(
            kind=Gemm, sizes=sizes, constants=_element_bytes(left.format, right.format, out.format) | {"rate": rate}
        ),
        flops=total(op.shape.flops for op in ops),
        reads=reads,
        writes={op.res: op.type.local_bytes for op in ops},
        rate=rate,
        formula=GEMM_FORMULA,
    )


def _grouped(ops: Sequence[GroupedEinsumOp]) -> Draft:
    first = ops[0]
    rows, weight = tensor(first.rows), tensor(first.weight)
    rate = product_rate(rows.format, weight.format)
    reached = hit(first.experts.local, first.experts.size, first.top_k.value.data, first.tokens)
    shape = first.shape
    columns = total(op.shape.n for op in ops)
    reads: dict[SSAValue, Expr] = {first.rows: rows.local_bytes}
    for op in ops:
        reads[op.weight] = _expert_bytes(op, reached)
        reads.update({bias: tensor(bias).local_bytes for bias in op.bias})
    sizes = {"rows": shape.m, "experts": first.experts.local, "hit_experts": reached, "n": columns, "k": shape.k}
    return Draft(
        family="experts",
        kernel=KernelSpec(
            kind=GroupedGemm,
            sizes=sizes,
            constants=_element_bytes(rows.format, weight.format, first.type.format) | {"rate": rate},
        ),
        flops=total(op.shape.flops for op in ops),
        reads=reads,
        writes={op.res: op.type.local_bytes for op in ops},
        rate=rate,
        formula=GROUPED_FORMULA,
    )


def _expert_bytes(op: GroupedEinsumOp, reached: Expr) -> Expr:
    """Bytes of the experts that are hit: `reached k n`."""
    weight = tensor(op.weight)
    one = weight.with_dims(weight.dims[1:])
    return reached * one.local_bytes


def _element_bytes(left: str, right: str, out: str) -> dict[str, str | float | bool]:
    return {"a_bytes": bytes_of(left), "b_bytes": bytes_of(right), "c_bytes": bytes_of(out)}
