"""Matrix products: `model.einsum` for every projection and `model.grouped_einsum` for experts."""

from collections.abc import Sequence
from typing import NamedTuple

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import Expr, ceildiv, product
from gambrel.ir.op import PlacedOp, integer, label_property, local_product, match_sizes, rank_of, without
from gambrel.ir.types import Dim, TensorType, tensor


class MatmulShape(NamedTuple):
    """`C[batch, m, n] = A[batch, m, k] B[batch, k, n]` on one device."""

    batch: Expr
    m: Expr
    n: Expr
    k: Expr

    @property
    def flops(self) -> Expr:
        """2 FLOPs for each multiply-accumulate."""
        return self.batch * self.m * self.n * self.k * 2


@irdl_op_definition
class EinsumOp(PlacedOp):
    """A product of two tensors over named letters: `bsd,dhe->bshe`.

    Letters in both operands and the result are batch dims, letters only in the operands are contracted. A contracted
    letter that is split leaves the result partial over its axes.
    """

    name = "model.einsum"
    spec = prop_def(StringAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$spec $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, spec: str, lhs: SSAValue, rhs: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"spec": StringAttr(spec), **label_property(label)}
        super().__init__(operands=[lhs, rhs], properties=properties, result_types=[lhs.type])
        self.retype()

    @property
    def letters(self) -> tuple[str, str, str]:
        """Letters of the left operand, the right operand and the result.

        Raises:
            VerifyException: The specification is not of the form `ab,bc->ac` or does not fit the operands.
        """
        inputs, arrow, out = self.spec.data.partition("->")
        left, comma, right = inputs.partition(",")
        if not arrow or not comma or not all(part.isalpha() for part in (left, right, out)):
            raise VerifyException(f"einsum '{self.spec.data}' is not of the form 'ab,bc->ac'")
        for letters, value, side in ((left, self.lhs, "left"), (right, self.rhs, "right")):
            if len(letters) != len(tensor(value).dims):
                raise VerifyException(f"einsum '{self.spec.data}' does not fit the {side} operand {value.type}")
        missing = set(out) - set(left) - set(right)
        if missing:
            raise VerifyException(f"einsum '{self.spec.data}' makes '{sorted(missing)[0]}' out of nothing")
        return left, right, out

    def _dims(self) -> dict[str, Dim]:
        left, right, _ = self.letters
        dims: dict[str, Dim] = {}
        for letters, value in ((left, self.lhs), (right, self.rhs)):
            for letter, dim in zip(letters, tensor(value).dims, strict=True):
                if letter in dims:
                    match_sizes(dims[letter], dim, letter)
                dims[letter] = dim
        return dims

    def accept(self) -> Sequence[TensorType]:
        """The left operand follows the right one on shared letters and frees the axes that the right one uses."""
        left, right, _ = self.letters
        rhs = tensor(self.rhs)
        axes = dict(zip(right, (dim.axes for dim in rhs.dims), strict=True))
        taken = [axis for dim in rhs.dims for axis in dim.axes]
        dims = [
            Dim(dim.size, axes[letter] if letter in axes else without(dim.axes, taken))
            for letter, dim in zip(left, tensor(self.lhs).dims, strict=True)
        ]
        return [tensor(self.lhs).with_dims(dims), rhs.complete()]

    def infer(self) -> TensorType:
        """Placement of the kept letters; partial over the axes of the contracted ones."""
        dims = self._dims()
        out = self.letters[2]
        partial = [axis for letter, dim in dims.items() if letter not in out for axis in dim.axes]
        return TensorType.of(self._result_format(), [dims[letter] for letter in out], partial)

    def _result_format(self) -> str:
        # Products of narrow formats accumulate wide and are written in the activation's format.
        current = self.results[0].type
        left = tensor(self.lhs).format
        if left in ("bf16", "fp16", "fp32"):
            return left
        kept = current.format if isinstance(current, TensorType) else left
        return kept if kept in ("bf16", "fp16", "fp32") else "bf16"

    @property
    def shape(self) -> MatmulShape:
        """Sizes on one device."""
        left, right, out = self.letters
        dims = self._dims()
        both = set(left) & set(right)
        return MatmulShape(
            batch=local_product(dims[letter] for letter in dims if letter in both and letter in out),
            m=local_product(dims[letter] for letter in dims if letter in left and letter not in right),
            n=local_product(dims[letter] for letter in dims if letter in right and letter not in left),
            k=local_product(dims[letter] for letter in dims if letter in both and letter not in out),
        )


@irdl_op_definition
class GroupedEinsumOp(PlacedOp):
    """Rows that belong to experts times the experts' weights: `[r, k] x [e, k, n] -> [r, n]`, each row by its expert.

    An optional bias `[e, n]` is added to each row by its expert.
    The rows must lie on the devices of their experts: the row dim is split over the axes that split the experts.
    """

    name = "model.grouped_einsum"
    top_k = prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    rows = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$rows `,` $weight (`,` $bias^)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, rows: SSAValue, weight: SSAValue, *bias: SSAValue, top_k: int, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"top_k": integer(top_k), **label_property(label)}
        super().__init__(operands=[rows, weight, bias], properties=properties, result_types=[rows.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """Rows follow the experts; the contracted dim follows the weight's."""
        rows, weight = rank_of(self.rows, 2, "rows"), rank_of(self.weight, 3, "expert weight")
        experts, inner, outer = weight.dims
        row_axes = without(rows.dims[0].axes, (*inner.axes, *outer.axes))
        if not set(experts.axes) <= set(row_axes):
            spread = ("edp",) if "ep" in experts.axes else ()
            row_axes = (*experts.axes, *without(row_axes, (*experts.axes, *spread)), *spread)
        placed = rows.with_dims([Dim(rows.dims[0].size, row_axes), Dim(rows.dims[1].size, inner.axes)])
        return [placed, weight, *(tensor(b).with_dims([experts, outer]) for b in self.bias)]

    def infer(self) -> TensorType:
        """Rows stay where they are; partial over the axes of the contracted dim."""
        rows, weight = rank_of(self.rows, 2, "rows"), rank_of(self.weight, 3, "expert weight")
        match_sizes(rows.dims[1], weight.dims[1], "k")
        for bias in self.bias:
            if tensor(bias).sizes != (weight.dims[0].size, weight.dims[2].size):
                raise VerifyException(f"bias {bias.type} does not fit the experts {weight}")
        kept = rows.format if rows.format in ("bf16", "fp16", "fp32") else "bf16"
        return TensorType.of(kept, [rows.dims[0], weight.dims[2]], weight.dims[1].axes)

    @property
    def shape(self) -> MatmulShape:
        """Sizes on one device; m counts all rows of all local experts."""
        rows, weight = tensor(self.rows), tensor(self.weight)
        return MatmulShape(batch=product(()), m=rows.dims[0].local, n=weight.dims[2].local, k=weight.dims[1].local)

    @property
    def experts(self) -> Dim:
        """The expert dim of the weight."""
        return tensor(self.weight).dims[0]

    @property
    def tokens(self) -> Expr:
        """Tokens whose choices are spread over one copy of the experts."""
        rows = tensor(self.rows).dims[0]
        copies = [axis for axis in rows.axes if axis not in self.experts.axes]
        size = ceildiv(rows.size, self.top_k.value.data)
        return ceildiv(size, product(copies)) if copies else size
