"""Convolutions over square images: `conv`."""

import numpy as np

from gambrel.calibration.columns import Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import (
    DTYPE,
    EAGER_SOURCES,
    FORMATS,
    MEASURED,
    PLAIN_LIBRARY,
    PROVENANCE,
    loop_of,
)
from gambrel.cost.kernel import Convolution

HOST_WORK = 2.5
"""Work of the host to issue a convolution with a bias, relative to adding two tensors.

Source: ratios of the least times of NeuSight's operations, as of `memory_bound`.
"""


def build(rows: Rows) -> Call:
    """One filter over a batch of images."""
    library = rows.only(LIBRARY)
    rate, a, b, c = FORMATS[rows.only("dtype")]
    x = rows.numbers
    kernel = Convolution(
        images=x["B"],
        channels_in=x["Input_Channel"],
        channels_out=x["Output_Channel"],
        height=x["Input_Size"],
        width=x["Input_Size"],
        filter=x["Kernel_Size"],
        stride=x["Stride"],
        padding=x["Padding"],
        rate=rate,
        a_bytes=a,
        b_bytes=b,
        c_bytes=c,
        library=library,
        host_work=HOST_WORK if library in EAGER_SOURCES else 0.0,
    )
    return Call(kernels=(kernel,), residency=loop_of(library))


def _filters(rows: Rows) -> Text:
    """Filter and stride, by which libraries choose their kernels."""
    shapes = np.stack([rows.numbers["Kernel_Size"], rows.numbers["Stride"]], axis=1)
    present, codes = np.unique(shapes, axis=0, return_inverse=True)
    return Text(codes.astype(np.intp).ravel(), tuple(f"{side:g} by {step:g}" for side, step in present.tolist()))


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
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers[name], whole=True) for name in ("Input_Channel", "Output_Channel")],
    known={"dtype": tuple(FORMATS)},
    derived={LIBRARY: PLAIN_LIBRARY},
    classes=_filters,
)
