"""Streaming operations: `memory_bound`."""

from dataclasses import replace
from typing import NamedTuple

from gambrel.calibration.columns import Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, ELEMENT_BYTES, HOT, MEASURED, PLAIN_LIBRARY, PROVENANCE
from gambrel.cost.kernel import Array, Elementwise, MemoryBound


class Stream(NamedTuple):
    """Kind of an operation, and how often it reads and writes a row."""

    kind: Elementwise
    reads: float
    writes: float


UNARY = Stream("elementwise", 1.0, 1.0)
BINARY = Stream("elementwise", 2.0, 1.0)
NORM = Stream("norm", 1.0, 1.0)

STREAMS = {
    **dict.fromkeys(("add", "mul", "div", "pow", "mlp_act"), BINARY),
    **dict.fromkeys(("addu", "mulu", "divu", "powu", "gelu", "relu", "tanh", "silu", "copy", "rope"), UNARY),
    **dict.fromkeys(("ln", "norm", "layernorm", "rmsnorm", "input_layernorm", "post_attention_layernorm"), NORM),
    "softmax": Stream("softmax", 1.0, 1.0),
    "emb": Stream("gather", 1.0, 1.0),
}
"""The streaming operations that the tables name; a trailing u takes a scalar as its second operand."""


ARITHMETIC = {"silu": 8.0, "gelu": 10.0, "tanh": 8.0, "mlp_act": 9.0}
"""FLOPs of an element of the operations that evaluate an exponential; 1 for the others.

Source: assumed: a polynomial of degree 5 to 6 after the reduction of the range, and a division. Only hosts notice.
"""


def rows_kernel(op: Elementwise, rows: Array, cols: Array, read: Array | float, written: Array | float) -> MemoryBound:
    """A streaming kernel from its bytes per row, with one FLOP for each element."""
    return MemoryBound(
        op=op, rows=rows, cols=cols, bytes_read=rows * read, bytes_written=rows * written, flops=rows * cols
    )


def build(rows: Rows) -> Call:
    """`rows` rows of `cols` elements, read and written as often as the operation does."""
    kind, reads, writes = STREAMS[rows.only("op")]
    x = rows.numbers
    row = x["cols"] * ELEMENT_BYTES[rows.only("dtype")]
    kernel = rows_kernel(kind, x["rows"], x["cols"], reads * row, writes * row)
    work = ARITHMETIC.get(rows.only("op"), 1.0)
    return Call(kernels=(replace(kernel, flops=kernel.flops * work),), residency=HOT)


MEMORY_BOUND = Operation(
    name="memory_bound",
    columns=(
        Column(name="op", doc="Which operation", text=True),
        Column(name="rows", doc="Independent rows"),
        Column(name="cols", doc="Elements of a row"),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers["cols"], whole=True)],
    known={"dtype": tuple(ELEMENT_BYTES), "op": tuple(STREAMS)},
    derived={LIBRARY: PLAIN_LIBRARY},
    split=("op", "dtype", LIBRARY),
    op="op",
)
