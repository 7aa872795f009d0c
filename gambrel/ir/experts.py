"""Mixture of experts: choosing experts, moving tokens to rows grouped by expert, and back."""

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import as_expr, product
from gambrel.ir.op import PlacedOp, integer, label_property, match_sizes, rank_of, strings, without
from gambrel.ir.types import Axes, Dim, TensorType, tensor


@irdl_op_definition
class RouteOp(PlacedOp):
    """The top-k experts of each token from router logits `[b, s, e]` (and a bias) -> `[b, s, k]`."""

    name = "model.route"
    top_k = prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    logits = operand_def(TensorType)
    params = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$logits (`,` $params^)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, logits: SSAValue, *params: SSAValue, top_k: int, label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"top_k": integer(top_k), **label_property(label)}
        super().__init__(operands=[logits, params], properties=properties, result_types=[logits.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """All experts' scores of a token are on one device."""
        logits = rank_of(self.logits, 3, "router logits")
        whole = logits.with_dims([*logits.dims[:2], Dim(logits.dims[2].size)])
        return [whole, *(tensor(p).with_dims(Dim(d.size) for d in tensor(p).dims) for p in self.params)]

    def infer(self) -> TensorType:
        """k choices for each token."""
        logits, chosen = rank_of(self.logits, 3, "router logits"), self.top_k.value.data
        experts = logits.dims[2].size.constant
        if experts is not None and chosen > experts:
            raise VerifyException(f"top {chosen} of {experts} experts")
        return TensorType.of("i32", [*logits.dims[:2], Dim(as_expr(chosen))])


class _Permute(PlacedOp):
    """Shared by dispatch and combine: rows are tokens x k, placed like the tokens and split further over `select`."""

    @staticmethod
    def row_dim(routing: TensorType, select: Axes) -> Dim:
        """The row dim that belongs to a routing table."""
        token_axes = [axis for dim in routing.dims[:2] for axis in dim.axes]
        return Dim(product(routing.sizes), (*token_axes, *without(select, token_axes)))


@irdl_op_definition
class DispatchOp(_Permute):
    """Tokens `[b, s, d]` copied to rows grouped by expert `[b s k, d]`.

    Properties:
        select: Axes over which the tokens are replicated and each device keeps only its share of the rows.
    """

    name = "model.dispatch"
    select = opt_prop_def(ArrayAttr[StringAttr])
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    routing = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $routing attr-dict `:` functional-type(operands, results)"

    def __init__(self, x: SSAValue, routing: SSAValue, select: Sequence[str] = (), label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"select": strings(select) if select else None, **label_property(label)}
        super().__init__(operands=[x, routing], properties=properties, result_types=[x.type])
        self.retype()

    @property
    def select_axes(self) -> Axes:
        """Axes over which each device keeps its share."""
        return tuple(item.data for item in self.select) if self.select is not None else ()

    def accept(self) -> Sequence[TensorType]:
        """Tokens and their routing lie together; the hidden dim is whole."""
        x, routing = rank_of(self.x, 3, "x"), rank_of(self.routing, 3, "routing")
        tokens = [Dim(dim.size, without(dim.axes, self.select_axes)) for dim in x.dims[:2]]
        return [x.with_dims([*tokens, Dim(x.dims[2].size)]), routing.with_dims([*tokens, Dim(routing.dims[2].size)])]

    def infer(self) -> TensorType:
        """Rows split like the tokens and over `select`."""
        x, routing = rank_of(self.x, 3, "x"), rank_of(self.routing, 3, "routing")
        match_sizes(x.dims[0], routing.dims[0], "batch")
        match_sizes(x.dims[1], routing.dims[1], "sequence")
        return x.with_dims([self.row_dim(routing, self.select_axes), x.dims[2]])


@irdl_op_definition
class CombineOp(_Permute):
    """Rows `[b s k, d]` weighted and summed to tokens `[b, s, d]`; partial over `select` and what the rows lack."""

    name = "model.combine"
    select = opt_prop_def(ArrayAttr[StringAttr])
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    rows = operand_def(TensorType)
    routing = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$rows `,` $routing attr-dict `:` functional-type(operands, results)"

    def __init__(self, rows: SSAValue, routing: SSAValue, select: Sequence[str] = (), label: str = "") -> None:
        """Build with the inferred result type."""
        properties = {"select": strings(select) if select else None, **label_property(label)}
        super().__init__(operands=[rows, routing], properties=properties, result_types=[rows.type])
        self.retype()

    @property
    def select_axes(self) -> Axes:
        """Axes over which each device holds only its share of the rows."""
        return tuple(item.data for item in self.select) if self.select is not None else ()

    def accept(self) -> Sequence[TensorType]:
        """Rows are back where the tokens are; sums over the experts' inner split may stay open."""
        rows, routing = rank_of(self.rows, 2, "rows"), rank_of(self.routing, 3, "routing")
        dim = self.row_dim(routing, self.select_axes)
        kept = without(rows.partial, dim.axes)
        return [rows.with_dims([Dim(rows.dims[0].size, dim.axes), Dim(rows.dims[1].size)], kept), routing]

    def infer(self) -> TensorType:
        """Tokens, partial over `select` and over the rows' own open sums."""
        rows, routing = rank_of(self.rows, 2, "rows"), rank_of(self.routing, 3, "routing")
        if rows.dims[0].size is not product(routing.sizes):
            raise VerifyException(f"{rows.dims[0].size} rows do not belong to routing {routing}")
        token_axes = [axis for dim in routing.dims[:2] for axis in dim.axes]
        partial = [axis for axis in rows.dims[0].axes if axis not in token_axes]
        return rows.with_dims([*routing.dims[:2], rows.dims[1]], (*partial, *rows.partial))
