"""Recurrences over a sequence: `model.scan` for linear attention and state-space layers, `model.conv1d` before them.

Legend: b sequences, s new tokens, g groups (heads of queries and keys), h heads of values, n width of a key (length of
a state vector), p width of a value (of a head), k tokens that a convolution sees.
"""

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import ONE, Expr, ceildiv
from gambrel.ir.op import PlacedOp, integer, label_property, match_sizes, rank_of
from gambrel.ir.types import Dim, TensorType, tensor

ScanKind = Literal["gdn", "mamba2"]
SCAN_KINDS: tuple[ScanKind, ...] = ("gdn", "mamba2")
CONV_ACTIVATIONS = ("silu",)


@irdl_op_definition
class ScanOp(PlacedOp):
    """A linear recurrence: q and k `[b, s, g, n]`, v `[b, s, h, p]`, state `[b, h, n, p]` -> `[b, s, h, p]`.

    Each token updates the state of its sequence and reads it; g divides h. The state is left behind changed, as a cache
    is. Prefill computes chunks of tokens by matrix products and hands the state from chunk to chunk; a single new token
    takes one step.

    - `gdn`, the gated delta rule: `S = a S + beta k (v - a S^T k)^T`, `o = S^T q`, queries and keys normalised first;
      the controls are what decay a and strength beta are computed from.
    - `mamba2`: `S = a S + k (dt v)^T`, `o = S^T q + D v`, where q, k, v are C, B, x of that paper; the controls are
      what decay a, step dt and skip D are computed from.

    The controls are given per token and head, `[b, s, h]`, or per head, `[h]`. A device holds whole heads and whole
    sequences: a recurrence does not split along the sequence.

    Properties:
        kind: `gdn` or `mamba2`.
        chunk: Tokens that prefill computes at once.

    Source: S. Yang et al., "Gated Delta Networks", 2024, section 3; T. Dao, A. Gu, "Transformers are SSMs", 2024,
    sections 5 and 6 (the correspondence of q, k, v to C, B, x).
    """

    name = "model.scan"
    kind = prop_def(StringAttr)
    chunk = prop_def(IntegerAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    state = operand_def(TensorType)
    controls = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = (
        "$kind $q `,` $k `,` $v `,` $state (`,` $controls^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        kind: ScanKind,
        q: SSAValue,
        k: SSAValue,
        v: SSAValue,
        state: SSAValue,
        *controls: SSAValue,
        chunk: int,
        label: str = "",
    ) -> None:
        """Build with the inferred result type."""
        properties = {"kind": StringAttr(kind), "chunk": integer(chunk), **label_property(label)}
        super().__init__(operands=[q, k, v, state, controls], properties=properties, result_types=[v.type])
        self.retype()

    def _kinds(self) -> tuple[TensorType, TensorType, TensorType, TensorType]:
        return (
            rank_of(self.q, 4, "q"),
            rank_of(self.k, 4, "k"),
            rank_of(self.v, 4, "v"),
            rank_of(self.state, 4, "state"),
        )

    def accept(self) -> Sequence[TensorType]:
        """Batch and heads are split like the state's; sequence and widths are whole."""
        q, k, v, state = self._kinds()
        batch, heads = state.dims[0].axes, state.dims[1].axes

        def placed(kind: TensorType, head_axes: Sequence[str]) -> TensorType:
            axes = (batch, (), tuple(head_axes), ())
            return kind.with_dims(Dim(dim.size, axis) for dim, axis in zip(kind.dims, axes, strict=True))

        def control(kind: TensorType) -> TensorType:
            axes = (heads,) if len(kind.dims) == 1 else (batch, (), heads)
            return kind.with_dims(Dim(dim.size, axis) for dim, axis in zip(kind.dims, axes, strict=True))

        groups = heads if q.dims[2].size is not ONE else ()
        whole = state.with_dims([state.dims[0], state.dims[1], *(Dim(dim.size) for dim in state.dims[2:])])
        controls = [control(self._control(value)) for value in self.controls]
        return [placed(q, groups), placed(k, groups), placed(v, heads), whole, *controls]

    @staticmethod
    def _control(value: SSAValue) -> TensorType:
        kind = tensor(value)
        if len(kind.dims) not in (1, 3):
            raise VerifyException(f"a control is [b, s, h] or [h], got {kind}")
        return kind

    def infer(self) -> TensorType:
        """The values' type."""
        q, k, v, state = self._kinds()
        if self.kind.data not in SCAN_KINDS:
            raise VerifyException(f"unknown recurrence '{self.kind.data}'; known: {', '.join(SCAN_KINDS)}")
        if self.chunk.value.data < 1:
            raise VerifyException(f"a chunk holds at least one token, got {self.chunk.value.data}")
        if q.sizes != k.sizes:
            raise VerifyException(f"queries {q} and keys {k} differ in shape")
        for number, name in ((0, "batch"), (1, "tokens")):
            match_sizes(q.dims[number], v.dims[number], name)
        wanted = (v.dims[0], v.dims[2], q.dims[3], v.dims[3])
        for mine, dim, name in zip(state.dims, wanted, ("batch", "heads", "key width", "value width"), strict=True):
            match_sizes(mine, dim, name)
        groups, heads = q.dims[2].size.constant, v.dims[2].size.constant
        if isinstance(groups, int) and isinstance(heads, int) and heads % groups:
            raise VerifyException(f"{heads} heads are not a multiple of {groups} groups")
        for value in self.controls:
            match_sizes(self._control(value).dims[-1], v.dims[2], "heads")
        return v

    @property
    def decode(self) -> bool:
        """Whether each sequence takes one step."""
        return tensor(self.v).dims[1].size is ONE

    @property
    def streams(self) -> Expr:
        """Independent recurrences on one device: sequences times heads."""
        v = tensor(self.v)
        return v.dims[0].local * v.dims[2].local

    @property
    def chunks(self) -> Expr:
        """Chunks of one sequence."""
        return ceildiv(tensor(self.v).dims[1].size, self.chunk.value.data)

    @property
    def flops(self) -> Expr:
        """FLOPs on one device: of the chunked form, or of one step where there is one new token.

        Each token and head, C tokens a chunk, whole tiles below the diagonal and above it:

        - gdn, chunked: `6 n p + C (6 n + 4 p) + C^2 / 3`: three products with the state (corrected value, output,
          update); `k k^T`, its inverse by substitution (C^3 / 3 a chunk) applied to k and v, `q k^T`, and its product
          with the values.
        - gdn, one step: `7 n p`: decay, read under the key, rank-one update, read under the query.
        - mamba2, chunked: `4 n p + 2 C p + 2 C n g / h`: output from and update of the state; the product of scores and
          values; the scores, which the heads of a group share.
        - mamba2, one step: `5 n p`: decay, rank-one update, read.

        Source: S. Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024,
        section 3.2 (WY form) and "Gated Delta Networks", 2024, section 3.3; T. Dao, A. Gu, "Transformers are SSMs",
        2024, section 6 (block decomposition) and listing 1.
        """
        q, v = tensor(self.q), tensor(self.v)
        tokens = v.dims[0].local * v.dims[1].size
        heads, groups = v.dims[2].local, q.dims[2].local
        n, p, chunk = q.dims[3].size, v.dims[3].size, self.chunk.value.data
        if self.decode:
            return tokens * heads * n * p * (7 if self.kind.data == "gdn" else 5)
        if self.kind.data == "gdn":
            return tokens * heads * (n * p * 6 + (n * 6 + p * 4) * chunk + _third_of_square(chunk))
        return tokens * (heads * (n * p * 4 + p * 2 * chunk) + groups * n * 2 * chunk)


def _third_of_square(chunk: int) -> Expr:
    return (ONE * (chunk * chunk)) / 3


@irdl_op_definition
class Conv1dOp(PlacedOp):
    """A causal convolution of each channel over the last k tokens: x `[b, s, g, e]`, weight `[g, e, k]` -> x's type.

    The state `[b, g, e, k - 1]` holds the tokens before the new ones and is left behind changed. An optional bias is
    `[g, e]`. A device holds whole sequences.

    Properties:
        activation: One of CONV_ACTIVATIONS, applied in the same kernel.
    """

    name = "model.conv1d"
    activation = opt_prop_def(StringAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    weight = operand_def(TensorType)
    state = operand_def(TensorType)
    bias = var_operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$x `,` $weight `,` $state (`,` $bias^)? attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        x: SSAValue,
        weight: SSAValue,
        state: SSAValue,
        *bias: SSAValue,
        activation: str | None = None,
        label: str = "",
    ) -> None:
        """Build with the inferred result type."""
        properties = {
            "activation": StringAttr(activation) if activation is not None else None,
            **label_property(label),
        }
        super().__init__(operands=[x, weight, state, bias], properties=properties, result_types=[x.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """Batch and channels are split like the state's; the sequence is whole."""
        x, weight, state = rank_of(self.x, 4, "x"), rank_of(self.weight, 3, "weight"), rank_of(self.state, 4, "state")
        batch, heads, width = (dim.axes for dim in state.dims[:3])

        def split(kind: TensorType, *axes: Sequence[str]) -> TensorType:
            return kind.with_dims(Dim(dim.size, tuple(axis)) for dim, axis in zip(kind.dims, axes, strict=True))

        biases = [split(rank_of(value, 2, "bias"), heads, width) for value in self.bias]
        kept = split(state, batch, heads, width, ())
        return [split(x, batch, (), heads, width), split(weight, heads, width, ()), kept, *biases]

    def infer(self) -> TensorType:
        """The operand's type."""
        x, weight, state = rank_of(self.x, 4, "x"), rank_of(self.weight, 3, "weight"), rank_of(self.state, 4, "state")
        if self.activation is not None and self.activation.data not in CONV_ACTIVATIONS:
            known = ", ".join(CONV_ACTIVATIONS)
            raise VerifyException(f"unknown activation '{self.activation.data}' of a convolution; known: {known}")
        channels = x.sizes[2:]
        if weight.sizes[:2] != channels or any(tensor(value).sizes != channels for value in self.bias):
            raise VerifyException(f"the filter {weight} (or its bias) does not fit {x}")
        if state.sizes != (x.sizes[0], *channels, weight.sizes[2] - 1):
            raise VerifyException(f"the state {state} does not hold the tokens before those of {x} under {weight}")
        return x

    @property
    def kernel(self) -> Expr:
        """Tokens that the convolution sees."""
        return tensor(self.weight).dims[2].size

    @property
    def flops(self) -> Expr:
        """FLOPs on one device: 2 for each channel, token and element of the kernel; bias and activation apart."""
        return self.type.local_elements * self.kernel * 2
