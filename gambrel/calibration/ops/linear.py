"""Linear attention, the recurrence and the short convolution before it: `linear_attention`."""

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, ELEMENT_BYTES, LIBRARY_FROM, MEASURED, PROVENANCE
from gambrel.calibration.ops.memory_bound import rows_kernel
from gambrel.cost.kernel import Scan

CHUNK = 64.0
"""Tokens of a chunk in flash-linear-attention's kernels."""

STATE_BYTES = 4.0
"""States are kept in fp32."""


def build(rows: Rows) -> Call:
    """A causal convolution over a few tokens, or the gated delta rule: in chunks, or one step for each sequence."""
    source = rows.only("kernel_source")
    if source.startswith("causal_conv1d"):
        return _convolution(rows)
    return Call(kernels=(_delta_rule(rows, step=rows.only("phase") == "generation"),))


def _convolution(rows: Rows) -> Call:
    """Reads and writes every channel of every token, and the last few tokens that are kept for the next call."""
    x = rows.numbers
    element = ELEMENT_BYTES[rows.only("dtype")]
    inner = x["nheads"] * x["head_dim"] + 2.0 * x["n_groups"] * x["d_state"]
    keys = 2.0 * x["num_k_heads"] * x["head_k_dim"] + x["num_v_heads"] * x["head_v_dim"]
    channels = np.where(x["nheads"] > 0, inner, keys)
    tokens = x["batch"] * x["seq_len"]
    kept = channels * (x["d_conv"] - 1.0) * x["batch"] / tokens
    moved = element * (channels + kept)
    return Call(kernels=(rows_kernel("elementwise", tokens, channels, moved, moved),))


def _delta_rule(rows: Rows, *, step: bool) -> Scan:
    x = rows.numbers
    element = ELEMENT_BYTES[rows.only("dtype")]
    n, p, groups, heads = x["head_k_dim"], x["head_v_dim"], x["num_k_heads"], x["num_v_heads"]
    tokens = x["batch"] * x["seq_len"]
    states = x["batch"] * heads * n * p * STATE_BYTES
    chunked = 6.0 * n * p + CHUNK * (6.0 * n + 4.0 * p) + CHUNK * CHUNK / 3.0
    return Scan(
        variant="step" if step else "gdn",
        tokens=x["seq_len"],
        chunk=1.0 if step else CHUNK,
        blocks=x["batch"] * heads,
        flops=tokens * heads * (7.0 * n * p if step else chunked),
        bytes_read=states + tokens * element * (2.0 * groups * n + heads * (p + 2.0)),
        bytes_written=states + tokens * element * heads * p,
        staged_bytes=0.0 if step else _staged(tokens, n, p, groups, heads, element),
        rate="bf16",
        library=rows.only(LIBRARY),
    )


def _staged(tokens: Array, n: Array, p: Array, groups: Array, heads: Array, element: float) -> Array:
    """Bytes between the kernels of the unfused form, as `gambrel.cost.rules.scan.staged_bytes` counts them."""
    elements = 7.0 * n + 4.0 * p + 2.0 * n * p / CHUNK + 2.0 * CHUNK
    return tokens * (heads * (element * elements + 8.0 * CHUNK) - element * groups * 2.0 * n)


def _optional(name: str, doc: str) -> Column:
    return Column(name=name, doc=doc, default=0.0)


LINEAR_ATTENTION = Operation(
    name="linear_attention",
    columns=(
        Column(name="phase", doc="context or generation", text=True),
        Column(name="batch", doc="Sequences"),
        Column(name="seq_len", doc="New tokens per sequence"),
        Column(name="d_conv", doc="Tokens that the convolution sees", default=4.0),
        _optional("num_k_heads", "Heads of queries and keys (gated delta rule)"),
        _optional("head_k_dim", "Elements of a key"),
        _optional("num_v_heads", "Heads of values"),
        _optional("head_v_dim", "Elements of a value"),
        _optional("nheads", "Heads (Mamba-2)"),
        _optional("head_dim", "Elements of a head (Mamba-2)"),
        _optional("n_groups", "Groups that share a state's controls (Mamba-2)"),
        _optional("d_state", "Elements of a state (Mamba-2)"),
        Column(name="dtype", doc=DTYPE.doc, text=True, default="bfloat16"),
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers[name], whole=True) for name in ("num_v_heads", "nheads", "seq_len")],
    known={"dtype": tuple(ELEMENT_BYTES)},
    derived={LIBRARY: LIBRARY_FROM},
    split=("kernel_source", "phase", "dtype", LIBRARY),
    op="kernel_source",
)
