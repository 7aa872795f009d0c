"""Streaming operations: `memory_bound`."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gambrel.calibration.columns import Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import (
    DTYPE,
    EAGER_SOURCES,
    ELEMENT_BYTES,
    HOT,
    MEASURED,
    PLAIN_LIBRARY,
    PROVENANCE,
)
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
    **dict.fromkeys(("add", "mul", "div", "pow"), BINARY),
    **dict.fromkeys(("addu", "mulu", "divu", "powu", "gelu", "relu", "tanh", "silu", "copy", "rope"), UNARY),
    **dict.fromkeys(("ln", "norm", "layernorm", "rmsnorm", "input_layernorm", "post_attention_layernorm"), NORM),
    "mlp_act": Stream("activation", 1.0, 0.5),
    "softmax": Stream("softmax", 1.0, 1.0),
    "emb": Stream("embedding", 1.0, 1.0),
}
"""The streaming operations that the tables name; a trailing u takes a scalar as its second operand.

The columns of `mlp_act` are those of its input, the gate and the value that it multiplies side by side; a model without
a gate writes as much as it reads, which the tables do not tell.
"""


ARITHMETIC = {"silu": 8.0, "gelu": 10.0, "tanh": 8.0, "mlp_act": 9.0, "pow": 100.0, "powu": 100.0}
"""FLOPs of an element of the operations that evaluate an exponential; 1 for the others.

Source: assumed: a polynomial of degree 5 to 6 after the reduction of the range, and a division; a power takes a
logarithm and an exponential of more than fp32's precision.
"""

HOST_WORK = {
    **dict.fromkeys(("addu", "mulu", "divu", "gelu", "relu"), 1.18),
    "powu": 1.1,
    "softmax": 1.27,
    **dict.fromkeys(("ln", "layernorm"), 1.78),
}
"""Work of the host to issue an operation, relative to that of adding two tensors; 1 for the others.

Source: ratios of the least times of NeuSight's operations, which agree to 4 % over A100, V100, T4, MI100 and MI210: a
scalar operand is wrapped into a tensor, a module or functional checks its arguments.
"""


PARALLEL_BLOCK = 2560.0
"""Columns of the model in whose blocks Vidur's `add` is two: attention's results and the MLP's are added to the input.

Source: Vidur, vidur/profiling/mlp/mlp_impl.py, `GPTBlock._forward_without_post_attn_norm`, which of its models only
Phi-2 takes.
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
    op, library = rows.only("op"), rows.only(LIBRARY)
    kernel = replace(
        kernel,
        flops=kernel.flops * ARITHMETIC.get(op, 1.0),
        library=library,
        host_work=HOST_WORK.get(op, 1.0) if library in EAGER_SOURCES else 0.0,
    )
    if (op, library) != ("add", "vidur"):
        return Call(kernels=(kernel,), residency=HOT)
    # A second addition of no rows costs nothing.
    second = np.where(x["cols"] == PARALLEL_BLOCK, x["rows"], 0.0)
    return Call(kernels=(kernel, rows_kernel(kind, second, x["cols"], reads * row, writes * row)), residency=HOT)


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
