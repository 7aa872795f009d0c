"""The `dist` dialect: the device mesh, and collectives as conversions between placements of one tensor."""

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Dialect, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from gambrel.ir.op import label_property, overlap, strings
from gambrel.ir.types import AXES, Axes, TensorType, tensor


@irdl_op_definition
class MeshOp(IRDLOperation):
    """The axes of the device mesh that types may name; their sizes are symbols of the same names."""

    name = "dist.mesh"
    axes = prop_def(ArrayAttr[StringAttr])
    strategy = prop_def(StringAttr)
    assembly_format = "$strategy `axes` $axes attr-dict"

    def __init__(self, strategy: str, axes: Sequence[str]) -> None:
        """Declare the mesh."""
        super().__init__(properties={"axes": strings(axes), "strategy": StringAttr(strategy)})

    @property
    def axis_names(self) -> Axes:
        """Names of the axes."""
        return tuple(item.data for item in self.axes)

    def verify_(self) -> None:
        """Axes are known and named once."""
        names = self.axis_names
        for name in names:
            if name not in AXES:
                raise VerifyException(f"unknown mesh axis '{name}'; known: {', '.join(AXES)}")
            if names.count(name) > 1:
                raise VerifyException(f"mesh axis '{name}' is declared twice")


class ConversionOp(IRDLOperation):
    """One tensor in, the same tensor out with another placement."""

    irdl_options = (ParsePropInAttrDict(),)
    label_attr = opt_prop_def(StringAttr, prop_name="label")
    x = operand_def(TensorType)
    res = result_def(TensorType)

    def __init__(self, x: SSAValue, kind: TensorType, label: str = "") -> None:
        """Convert to that placement."""
        super().__init__(operands=[x], properties=label_property(label), result_types=[kind])

    @property
    def label(self) -> str:
        """What people call it; empty where nobody named it."""
        return self.label_attr.data if self.label_attr is not None else ""

    @property
    def before(self) -> TensorType:
        """Placement of the operand."""
        return tensor(self.x)

    @property
    def after(self) -> TensorType:
        """Placement of the result."""
        return tensor(self.res)

    @property
    def axes(self) -> Axes:
        """Mesh axes whose devices exchange data."""
        return ()

    def verify_(self) -> None:
        """Shape and format stay; the placement changes as this conversion may change it."""
        before, after = self.before, self.after
        if before.sizes != after.sizes or before.format != after.format:
            raise VerifyException(f"{self.name} keeps shape and format, got {before} -> {after}")
        reason = self.wrong()
        if reason:
            raise VerifyException(f"{reason}, got {before} -> {after}")

    def wrong(self) -> str:
        """Why this is not that conversion; empty where it is."""
        return ""

    def changed(self) -> list[tuple[Axes, Axes]]:
        """Axes before and after of the dims whose placement changes."""
        pairs = zip(self.before.dims, self.after.dims, strict=True)
        return [(old.axes, new.axes) for old, new in pairs if old.axes != new.axes]


CONVERSION = "$x attr-dict `:` type($x) `->` type($res)"


@irdl_op_definition
class ReshardOp(ConversionOp):
    """Any change of placement: what the sharding pass asks for, before collectives are chosen for it."""

    name = "dist.reshard"
    traits = traits_def(Pure())
    assembly_format = CONVERSION


@irdl_op_definition
class AllReduceOp(ConversionOp):
    """Sum over `partial` axes; every device gets the whole sum."""

    name = "dist.all_reduce"
    traits = traits_def(Pure())
    assembly_format = CONVERSION

    @property
    def axes(self) -> Axes:
        """The axes that are no longer partial."""
        return closed_axes(self.before, self.after)

    def wrong(self) -> str:
        """Partial axes vanish, dims stay."""
        if self.axes and not self.changed() and set(self.after.partial) < set(self.before.partial):
            return ""
        return "all_reduce turns a partial value into a complete one and keeps its dims"


@irdl_op_definition
class ReduceScatterOp(ConversionOp):
    """Sum over `partial` axes; each device keeps its part of one dim."""

    name = "dist.reduce_scatter"
    traits = traits_def(Pure())
    assembly_format = CONVERSION

    @property
    def axes(self) -> Axes:
        """The axes that are no longer partial."""
        return closed_axes(self.before, self.after)

    def wrong(self) -> str:
        """The vanished partial axes split one dim further."""
        changed = self.changed()
        if len(changed) == 1 and self.axes and changed[0][1] == (*changed[0][0], *self.axes):
            return ""
        return "reduce_scatter turns a partial axis into a split of one dim"


@irdl_op_definition
class AllGatherOp(ConversionOp):
    """Dims that were split become whole on every device."""

    name = "dist.all_gather"
    traits = traits_def(Pure())
    assembly_format = CONVERSION

    @property
    def axes(self) -> Axes:
        """The axes that no longer split anything."""
        return tuple(axis for old, new in self.changed() for axis in old if axis not in new)

    def wrong(self) -> str:
        """Axes only vanish from dims."""
        if self.changed() and self.before.partial == self.after.partial and _shrinks(self.changed()):
            return ""
        return "all_gather only removes axes from dims"


@irdl_op_definition
class AllToAllOp(ConversionOp):
    """A split moves from one dim to another, or rows move between two ways of splitting the same devices."""

    name = "dist.all_to_all"
    traits = traits_def(Pure())
    assembly_format = CONVERSION

    @property
    def axes(self) -> Axes:
        """The axes among whose devices the data move: the new ones, or the expert axis where rows come back."""
        if any("ep" in axes for pair in self.changed() for axes in pair):
            return ("ep",)
        return tuple(axis for before, after in self.changed() for axis in after if axis not in before)

    def wrong(self) -> str:
        """The same devices split the tensor before and after, in another way."""
        changed = self.changed()
        old = {axis for pair in changed for axis in pair[0]}
        new = {axis for pair in changed for axis in pair[1]}
        same = old == new and len(changed) == 2
        regroup = (
            len(changed) == 1 and old != new and ("ep" in old | new) and any(overlap(a, b) for a in old for b in new)
        )
        if self.before.partial == self.after.partial and (same or regroup):
            return ""
        return "all_to_all moves a split between dims or regroups rows by expert"


@irdl_op_definition
class SliceOp(ConversionOp):
    """Each device keeps its part of what all of them hold: no traffic."""

    name = "dist.slice"
    traits = traits_def(Pure())
    assembly_format = CONVERSION

    def wrong(self) -> str:
        """Axes are only added to dims."""
        flipped = [(new, old) for old, new in self.changed()]
        if flipped and self.before.partial == self.after.partial and _shrinks(flipped):
            return ""
        return "slice only adds axes to dims"


@irdl_op_definition
class PermuteOp(ConversionOp):
    """Each device sends its value to the next one along an axis: pipeline stages and rings."""

    name = "dist.permute"
    axis = prop_def(StringAttr)
    traits = traits_def(Pure())
    assembly_format = "$x `along` $axis attr-dict `:` type($x) `->` type($res)"

    def __init__(self, x: SSAValue, axis: str, label: str = "") -> None:
        """Send along that axis."""
        IRDLOperation.__init__(
            self,
            operands=[x],
            properties={"axis": StringAttr(axis), **label_property(label)},
            result_types=[x.type],
        )

    @property
    def axes(self) -> Axes:
        """The one axis."""
        return (self.axis.data,)

    def wrong(self) -> str:
        """Nothing changes but the device."""
        return "permute keeps the placement" if self.before != self.after else ""


def closed_axes(before: TensorType, after: TensorType) -> Axes:
    """The axes over which an open sum was closed."""
    return tuple(axis for axis in before.partial if axis not in after.partial)


def _shrinks(changed: Sequence[tuple[Axes, Axes]]) -> bool:
    return all(set(new) < set(old) for old, new in changed)


DIST = Dialect(
    "dist",
    [MeshOp, ReshardOp, AllReduceOp, ReduceScatterOp, AllGatherOp, AllToAllOp, SliceOp, PermuteOp],
    [],
)
