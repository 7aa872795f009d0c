"""Measured operations that no engine prices yet: their columns are known, an estimate is refused."""

from gambrel.calibration.columns import Column
from gambrel.calibration.operation import LIBRARY, Operation
from gambrel.calibration.ops.common import DTYPE, LIBRARY_FROM, MEASURED, PROVENANCE

CONV = Operation(
    name="conv",
    columns=(
        Column(name="B", doc="Images", aliases=("batch",)),
        Column(name="Input_Channel", doc="Channels in"),
        Column(name="Output_Channel", doc="Channels out"),
        Column(name="Kernel_Size", doc="Width and height of the filter", aliases=("Kernel_Szie",)),
        Column(name="Input_Size", doc="Width and height of the image"),
        Column(name="Stride", doc="Step of the filter", default=1.0),
        Column(name="Padding", doc="Zeros around the image", default=0.0),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
)

UNPRICED = (CONV,)
"""What is refused."""
