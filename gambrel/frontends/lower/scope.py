"""What the block builders share: the phase's symbols, the number format, and weights with unique names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from xdsl.ir import SSAValue

from gambrel.frontends.architecture import Norm
from gambrel.ir.expr import ONE, Expr, as_expr
from gambrel.ir.kv import AppendOp, CacheOp, StateOp
from gambrel.ir.model import Role, WeightOp
from gambrel.ir.pointwise import MapOp, NormOp
from gambrel.ir.structure import PhaseName
from gambrel.ir.types import TensorType

LatentForm = Literal["absorbed", "expanded"]
"""How latent attention decodes: on the compressed cache with the projections absorbed, or on expanded keys."""

CACHE_DIMS = ("batch", "cache", "kv_heads", "head_dim")
LATENT_CACHE_DIMS = ("batch", "cache", "latent_heads", "latent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where the builders are.

    Attributes:
        phase: The phase being built.
        format: Number format of weights, activations and caches before any quantisation.
        prefix: Put before the names of weights, caches and ops (`l2.` in a body of several layers).
        latent_form: How latent attention decodes.
    """

    phase: PhaseName
    format: str
    prefix: str = ""
    latent_form: LatentForm = "absorbed"

    @property
    def new_tokens(self) -> Expr:
        """New tokens per sequence: the symbol `s` in prefill, 1 in decode."""
        return as_expr("s") if self.phase == "prefill" else ONE

    def inside(self, prefix: str) -> "Scope":
        """The scope of one layer of several in a body."""
        return replace(self, prefix=f"{self.prefix}{prefix}")

    def name(self, label: str) -> str:
        """The full name of a weight, cache or op."""
        return self.prefix + label

    def weight(self, label: str, role: Role, **dims: int) -> SSAValue:
        """Declare a weight; keyword names are the logical dim names, values their sizes."""
        return self.weight_of(label, role, tuple(dims), tuple(dims.values()))

    def weight_of(self, label: str, role: Role, names: Sequence[str], sizes: Sequence[int]) -> SSAValue:
        """Declare a weight whose dim names may repeat."""
        return WeightOp(self.name(label), role, names, TensorType.of(self.format, sizes)).res

    def cache(self, label: str, dims: Sequence[str], heads: int, width: int, window: int | None = None) -> SSAValue:
        """Declare the cache of one layer."""
        kind = TensorType.of(self.format, ["b", "c", heads, width])
        return CacheOp(self.name(label), kind, dims, window).res

    def state(self, label: str, format_name: str, **dims: int) -> SSAValue:
        """Declare what a recurrence keeps of each sequence; keyword names are the logical names of the dims."""
        kind = TensorType.of(format_name, ["b", *dims.values()])
        return StateOp(self.name(label), kind, ("batch", *dims)).res

    def append(self, cache: SSAValue, new: SSAValue, label: str) -> SSAValue:
        """Write the new tokens into a cache."""
        return AppendOp(cache, new, label=self.name(label)).res

    def bias(self, x: SSAValue, label: str, **dims: int) -> SSAValue:
        """Add a bias of the trailing dims."""
        return MapOp("bias", x, self.weight(label, "bias", **dims), label=self.name(label)).res

    def norm(self, norm: Norm, x: SSAValue, label: str, **dims: int) -> SSAValue:
        """Normalise the trailing dims, with the scale and bias that the norm has."""
        params: list[SSAValue] = []
        if norm.weight:
            params.append(self.weight(f"{label}.weight", "norm", **dims))
        if norm.bias:
            params.append(self.weight(f"{label}.bias", "bias", **dims))
        return NormOp(norm.kind, x, *params, dims=len(dims), label=self.name(label)).res

    def add(self, left: SSAValue, right: SSAValue, label: str) -> SSAValue:
        """A residual addition."""
        return MapOp("add", left, right, label=self.name(label)).res
