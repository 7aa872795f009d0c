"""Softmax attention over a cache: `model.attention` for MHA, GQA, MQA and latent (absorbed) attention alike."""

from collections.abc import Sequence
from typing import Literal

from xdsl.dialects.builtin import IntegerAttr, StringAttr, UnitAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.expr import ONE, Expr, ceildiv, minimum, product
from gambrel.ir.op import PlacedOp, integer, label_property, match_sizes, rank_of, without
from gambrel.ir.types import Dim, TensorType, tensor

Convention = Literal["served", "hf-dense"]
"""How FLOPs are counted: as serving kernels run (causal halves, windows), or dense S_q x S_k as in Hugging Face."""


@irdl_op_definition
class AttentionOp(PlacedOp):
    """`softmax(q k^T) v`: q `[b, s, h, e]`, k `[b, t, g, e]`, v `[b, t, g, f]` -> `[b, s, h, f]`; g divides h.

    The t keys end with the s new tokens. Keys that are split over a mesh axis leave the result partial: the ranks
    merge by their log-sum-exp, which costs what a sum costs.

    Properties:
        causal: Each new token sees the tokens before it and itself.
        window: Keys that one token sees at the most.
        shared_kv: v is a slice of k, one read serves both (latent attention).
    """

    name = "model.attention"
    causal = opt_prop_def(UnitAttr)
    window = opt_prop_def(IntegerAttr)
    shared_kv = opt_prop_def(UnitAttr)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$q `,` $k `,` $v attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        q: SSAValue,
        k: SSAValue,
        v: SSAValue,
        *,
        causal: bool = True,
        window: int | None = None,
        shared_kv: bool = False,
        label: str = "",
    ) -> None:
        """Build with the inferred result type."""
        properties = {
            "causal": UnitAttr() if causal else None,
            "window": integer(window) if window is not None else None,
            "shared_kv": UnitAttr() if shared_kv else None,
            **label_property(label),
        }
        super().__init__(operands=[q, k, v], properties=properties, result_types=[q.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """Heads are split alike; keys are gathered where the queries are split over the same devices."""
        q, k, v = (rank_of(value, 4, name) for value, name in ((self.q, "q"), (self.k, "k"), (self.v, "v")))
        batch, length, heads, width = q.dims
        if not heads.axes:
            # Whole queries (after a norm over all heads) take the cache's split: a local slice.
            heads = Dim(heads.size, without(k.dims[2].axes, (*batch.axes, *length.axes)))
        query_axes = [axis for dim in (batch, length, heads) for axis in dim.axes]

        def placed(kv: TensorType) -> TensorType:
            head_axes = heads.axes if kv.dims[2].axes or kv.dims[2].size is not ONE else ()
            length_axes = without(kv.dims[1].axes, (*query_axes, *head_axes))
            axes = (batch.axes, length_axes, head_axes, ())
            return kv.with_dims(Dim(dim.size, axis) for dim, axis in zip(kv.dims, axes, strict=True))

        return [q.with_dims([batch, length, heads, Dim(width.size)]), placed(k), placed(v)]

    def infer(self) -> TensorType:
        """The queries' placement with the values' width; partial over the axes that split the keys."""
        q, k, v = (rank_of(value, 4, name) for value, name in ((self.q, "q"), (self.k, "k"), (self.v, "v")))
        match_sizes(q.dims[0], k.dims[0], "batch")
        match_sizes(q.dims[3], k.dims[3], "head_dim")
        match_sizes(k.dims[1], v.dims[1], "keys")
        heads, kv_heads = q.dims[2].size.constant, k.dims[2].size.constant
        if isinstance(heads, int) and isinstance(kv_heads, int) and heads % kv_heads:
            raise VerifyException(f"{heads} query heads are not a multiple of {kv_heads} key heads")
        return q.with_dims([*q.dims[:3], Dim(v.dims[3].size)], k.dims[1].axes)

    @property
    def window_size(self) -> int | None:
        """Keys that one token sees at the most; None for all."""
        return self.window.value.data if self.window is not None else None

    @property
    def keys(self) -> Expr:
        """Keys per sequence that one device reads, the window applied."""
        keys, window = tensor(self.k).dims[1], self.window_size
        if window is None:
            return keys.local
        return Dim(minimum(keys.size, tensor(self.q).dims[1].size + (window - 1)), keys.axes).local

    def pairs(self, convention: Convention) -> Expr:
        """Query-key pairs per sequence and head on one device.

        served: causal and window savings taken, `f(t) - f(t - s)` with `f(n) = m (m + 1) / 2 + (n - m) w`,
        `m = min(n, w)`: the sum over tokens of the keys that each sees. hf-dense: `s t`, the window applied only where
        the cache itself is cut (one new token).
        """
        q, k = tensor(self.q), tensor(self.k)
        new, keys = q.dims[1], k.dims[1]
        window = self.window_size
        if convention == "hf-dense":
            seen = minimum(keys.size, window) if window is not None and new.size is ONE else keys.size
            return new.size * seen
        if self.causal is None:
            return new.local * keys.local
        if new.size is ONE:
            # what a window drops is dropped before the rest is split
            return keys.local if window is None else Dim(minimum(keys.size, window), keys.axes).local
        every = _causal_pairs(keys.size, window) - _causal_pairs(keys.size - new.size, window)
        return every if new.axes == () else _split(every, new)

    def flops(self, convention: Convention) -> Expr:
        """FLOPs on one device: 2 per pair, head and element of the two products."""
        q, v = tensor(self.q), tensor(self.v)
        width = q.dims[3].size + v.dims[3].size
        return q.dims[0].local * q.dims[2].local * self.pairs(convention) * width * 2


def _causal_pairs(tokens: Expr, window: int | None) -> Expr:
    if window is None:
        return tokens * (tokens + 1) / 2
    full = minimum(tokens, window)
    return full * (full + 1) / 2 + (tokens - full) * window


def _split(pairs: Expr, new: Dim) -> Expr:
    # Context-parallel ranks take one early and one late chunk each, so that every rank has the same share
    # (Llama 3 herd of models, 2024, section 3.3.2).
    return ceildiv(pairs, product(new.axes))
