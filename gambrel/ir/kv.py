"""The `kv` dialect: what a sequence leaves behind in each layer, a cache that grows or a state of fixed size."""

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import Dialect, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.op import DeclarationOp, PlacedOp, integer, label_property, rank_of, strings
from gambrel.ir.types import Dim, TensorType


@irdl_op_definition
class CacheOp(DeclarationOp):
    """What one layer keeps of the tokens so far: `[b, c, g, e]`; the same label in two phases is one cache.

    Properties:
        window: Tokens that are kept at the most (sliding-window layers drop the rest).
        page: Tokens in one block of a paged cache; memory is rounded up to whole blocks.
    """

    name = "kv.cache"
    window = opt_prop_def(IntegerAttr)
    page = opt_prop_def(IntegerAttr)
    traits = traits_def(Pure())
    assembly_format = "$label `dims` $dims attr-dict `:` type($res)"

    def __init__(
        self, label: str, kind: TensorType, dims: Sequence[str], window: int | None = None, page: int | None = None
    ) -> None:
        """Declare a cache."""
        properties = {
            "label": StringAttr(label),
            "dims": strings(dims),
            "window": integer(window) if window is not None else None,
            "page": integer(page) if page is not None else None,
        }
        super().__init__(properties=properties, result_types=[kind])

    def verify_(self) -> None:
        """A cache is complete and has four named dims."""
        super().verify_()
        self.verify_complete()
        if len(self.type.dims) != 4:
            raise VerifyException(f"a cache has the 4 dims batch, length, heads and width, got {self.type}")


@irdl_op_definition
class StateOp(DeclarationOp):
    """What a recurrence or a convolution keeps of the tokens so far, of a size that does not grow with them.

    The first dim is the batch: `[b, h, n, p]` for a scan, `[b, g, e, k - 1]` for a convolution. The same label in two
    phases is one state.
    """

    name = "kv.state"
    traits = traits_def(Pure())
    assembly_format = "$label `dims` $dims attr-dict `:` type($res)"

    def __init__(self, label: str, kind: TensorType, dims: Sequence[str]) -> None:
        """Declare a state."""
        super().__init__(properties={"label": StringAttr(label), "dims": strings(dims)}, result_types=[kind])

    def verify_(self) -> None:
        """A state is complete, has one name a dim, and does not grow with the tokens."""
        super().verify_()
        self.verify_complete()
        grows = next((size for size in self.type.sizes if size.symbols & {"s", "c"}), None)
        if grows is not None:
            raise VerifyException(f"a state has a fixed size, but a dim is {grows}; kv.cache is what grows")


@irdl_op_definition
class AppendOp(PlacedOp):
    """Write the new tokens `[b, s, g, e]` behind the cached ones `[b, c, g, e]` -> `[b, c + s, g, e]`."""

    name = "kv.append"
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    cache = operand_def(TensorType)
    new = operand_def(TensorType)
    res = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "$cache `,` $new attr-dict `:` functional-type(operands, results)"

    def __init__(self, cache: SSAValue, new: SSAValue, label: str = "") -> None:
        """Build with the inferred result type."""
        super().__init__(operands=[cache, new], properties=label_property(label), result_types=[cache.type])
        self.retype()

    def accept(self) -> Sequence[TensorType]:
        """New tokens are placed like the cache; those that every device has stay whole, and each keeps its part."""
        cache, new = rank_of(self.cache, 4, "cache"), rank_of(self.new, 4, "new tokens")
        batch, length, heads, width = cache.dims
        kept = tuple(axis for axis in new.dims[1].axes if axis in length.axes)
        axes = (batch.axes, kept, heads.axes, width.axes)
        return [cache, new.with_dims(Dim(dim.size, axis) for dim, axis in zip(new.dims, axes, strict=True))]

    def infer(self) -> TensorType:
        """The cache, longer by the new tokens, in the cache's format."""
        cache, new = rank_of(self.cache, 4, "cache"), rank_of(self.new, 4, "new tokens")
        for number in (0, 2, 3):
            if cache.dims[number].size is not new.dims[number].size:
                raise VerifyException(f"new tokens {new} do not fit the cache {cache}")
        batch, length, heads, width = cache.dims
        return cache.with_dims([batch, Dim(length.size + new.dims[1].size, length.axes), heads, width])


KV = Dialect("kv", [CacheOp, StateOp, AppendOp], [])
