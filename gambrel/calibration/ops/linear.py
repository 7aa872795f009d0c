"""Linear attention, the recurrence and the short convolution before it: `linear_attention`."""

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, ELEMENT_BYTES, LIBRARY_FROM, MEASURED, PROVENANCE, loop_of
from gambrel.cost.kernel import Scan

CHUNK = 64.0
"""Tokens of a chunk in flash-linear-attention's kernels."""

STATE_BYTES = 4.0
"""States are kept in fp32."""


TILE = 8.0
"""Tokens that a block of the Triton convolution takes."""

SEQUENTIAL_TILE = 1024.0
"""Tokens of one channel that a block of the older CUDA convolution takes, 128 threads of 8, also where there are fewer.

Source: `causal_conv1d_fwd.cu` of causal-conv1d 1.4, which TensorRT-LLM and SGLang before 0.5.14 carry.
"""

NEWER_SGLANG = (0, 5, 14)
"""First version of SGLang that the newer collector measured."""


def build(rows: Rows) -> Call:
    """A causal convolution over a few tokens, or the gated delta rule: in chunks, or one step for each sequence."""
    step = rows.only("phase") == "generation"
    convolution = rows.only("kernel_source").startswith("causal_conv1d")
    kernel = _convolution(rows, step=step) if convolution else _delta_rule(rows, step=step)
    return Call(kernels=(kernel,), residency=loop_of(rows.only("backend")))


def collector_of(backend: str, version: str) -> str:
    """`older` for the tables of TensorRT-LLM and of SGLang before 0.5.14."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    return "older" if backend == "trtllm" or (backend == "sglang" and () < numbers < NEWER_SGLANG) else ""


def _convolution(rows: Rows, *, step: bool) -> Scan:
    """Reads and writes every channel of every token, and the last few tokens that are kept for the next call.

    The older collector runs the convolution of the gated delta rule over the channels of the keys alone (its times do
    not change with the heads of the values), and its kernel writes its results over its operands.
    """
    x = rows.numbers
    element = ELEMENT_BYTES[rows.only("dtype")]
    older = rows.only("collector") == "older"
    keys = x["num_k_heads"] * x["head_k_dim"]
    inner = x["nheads"] * x["head_dim"] + 2.0 * x["n_groups"] * x["d_state"]
    channels = np.where(x["nheads"] > 0, inner, keys if older else 2.0 * keys + x["num_v_heads"] * x["head_v_dim"])
    tokens = x["batch"] * x["seq_len"]
    kept = element * channels * (x["d_conv"] - 1.0) * x["batch"]
    moved = element * channels * tokens
    return Scan(
        variant="conv_step" if step else "conv",
        tokens=x["seq_len"],
        chunk=1.0 if step else SEQUENTIAL_TILE if older else TILE,
        blocks=x["batch"] * channels,
        flops=2.0 * x["d_conv"] * channels * tokens,
        bytes_read=moved + kept,
        bytes_written=moved + kept,
        staged_bytes=0.0,
        rate="bf16",
        in_place_bytes=kept + (moved if older else 0.0),
        library=rows.only(LIBRARY),
    )


def _delta_rule(rows: Rows, *, step: bool) -> Scan:
    """A step replaces its states in place; the chunked form writes new ones.

    The older collector's step reads states in the format of its operands, and its chunked form starts from none.
    """
    x = rows.numbers
    element = ELEMENT_BYTES[rows.only("dtype")]
    n, p, groups, heads = x["head_k_dim"], x["head_v_dim"], x["num_k_heads"], x["num_v_heads"]
    tokens = x["batch"] * x["seq_len"]
    states = x["batch"] * heads * n * p
    older = rows.only("collector") == "older"
    given = (element if step else 0.0) if older else STATE_BYTES
    chunked = 6.0 * n * p + CHUNK * (6.0 * n + 4.0 * p) + CHUNK * CHUNK / 3.0
    return Scan(
        variant="step" if step else "gdn",
        tokens=x["seq_len"],
        chunk=1.0 if step else CHUNK,
        blocks=x["batch"] * heads,
        flops=tokens * heads * (7.0 * n * p if step else chunked),
        bytes_read=states * given + tokens * element * (2.0 * groups * n + heads * (p + 2.0)),
        bytes_written=states * STATE_BYTES + tokens * element * heads * p,
        staged_bytes=0.0 if step else _staged(tokens, n, p, groups, heads, element),
        rate="bf16",
        in_place_bytes=states * STATE_BYTES if step and not older else 0.0,
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
    derived={LIBRARY: LIBRARY_FROM, "collector": Derived(("backend", "version"), collector_of)},
    split=("kernel_source", "phase", "dtype", LIBRARY, "collector"),
    op="kernel_source",
)
