"""Linear recurrences: the scan over a sequence, chunked or one step, and the short convolution before it."""

from collections.abc import Mapping, Sequence

from xdsl.ir import SSAValue

from gambrel.cost.kernel import Scan
from gambrel.cost.rows import Constant, KernelSpec
from gambrel.cost.rules.registry import Draft, product_rate, rule
from gambrel.ir.expr import ONE, ZERO, Expr, total
from gambrel.ir.formats import FORMATS
from gambrel.ir.scan import Conv1dOp, ScanOp
from gambrel.ir.types import tensor

CHUNKED_FORMULA = "chunked recurrence: matrix work, traffic, chain of chunks; docs/explanation/cost-model.md, 'Scans'"
CONV_FORMULA = "one sweep over tokens and states, or arithmetic; docs/explanation/cost-model.md, 'Scans'"
STEP_FORMULA = "one step: every state is read and written; docs/explanation/cost-model.md, 'Scans'"

TILE = 8
"""Tokens that a block of a convolution takes. Source: the kernel `causal_conv1d_fn` of vLLM 0.10 and SGLang 0.5."""


@rule(ScanOp)
def scan(op: ScanOp) -> Draft:
    """A recurrence: `ScanOp.flops`; reads queries, keys, values, controls and states, writes outputs and states, once.

    It is a kernel class of its own: the chunked form runs on the matrix units, so it is not memory-bound, and its many
    small products share tiles on chip, so they are no GEMMs either.
    """
    v, state = tensor(op.v), tensor(op.state)
    variant = "step" if op.decode else op.kind.data
    reads: dict[SSAValue, Expr] = {operand: tensor(operand).local_bytes for operand in op.operands}
    writes: dict[SSAValue, Expr] = {op.res: op.type.local_bytes, op.state: state.local_bytes}
    rate = product_rate(v.format, v.format)
    sizes = {
        "tokens": v.dims[1].size,
        # Mamba-2 passes states on in a kernel of its own, so all its chunks may run at once.
        "blocks": op.streams * op.chunks if variant == "mamba2" else op.streams,
        "flops": op.flops,
        "bytes_read": total(reads.values()),
        "bytes_written": total(writes.values()),
        "staged_bytes": ZERO if op.decode else staged_bytes(op),
    }
    chunk = 1.0 if op.decode else float(op.chunk.value.data)
    constants: dict[str, Constant] = {"variant": variant, "chunk": chunk, "rate": rate}
    return Draft(
        family="recurrence",
        kernel=KernelSpec(kind=Scan, sizes=sizes, constants=constants),
        flops=op.flops,
        reads=reads,
        writes=writes,
        rate=rate,
        formula=STEP_FORMULA if op.decode else CHUNKED_FORMULA,
    )


def staged_bytes(op: ScanOp) -> Expr:
    """Bytes between the kernels of the unfused chunked form, beyond operands and results read and written once.

    For each token and head, e bytes an element, C tokens a chunk, g/h groups a head:

    - gdn: `e (7 n + 4 p + 2 n p/C - 2 n g/h) + (8 + 2 e) C`: keys for the scores; keys and values in, corrected ones
      out (2 n + 2 p); keys, corrected keys and values in, new values out (2 n + 2 p); queries, keys and new values in,
      output out (2 n + 2 p); a state a chunk out and in; scores in fp32 out and in, their inverse out and in; less
      what is counted once already.
    - mamba2: `16 n p/C + e p + (8 C + e n) g/h`: a state a chunk in fp32 out, in and out where it is passed on, in;
      values and keys a second time; the scores of a group in fp32 out and in.

    Source: operands of the kernels of `chunk_gated_delta_rule` in flash-linear-attention and of
    `mamba_chunk_scan_combined` in mamba-ssm, versions of 2024 and 2025.
    """
    q, v = tensor(op.q), tensor(op.v)
    n, p, chunk = q.dims[3].size, v.dims[3].size, op.chunk.value.data
    e = FORMATS[v.format].bytes_per_element
    tokens = v.dims[0].local * v.dims[1].size
    heads, groups = tokens * v.dims[2].local, tokens * q.dims[2].local
    states = n * p / chunk
    if op.kind.data == "gdn":
        elements = heads * (n * 7 + p * 4 + states * 2 + ONE * (2 * chunk)) - groups * n * 2
        scores = heads * (8 * chunk)
    else:
        elements = heads * p + groups * n
        scores = heads * states * 16 + groups * (8 * chunk)
    return elements * e.numerator / e.denominator + scores


def convolution_draft(
    ops: Sequence[Conv1dOp], flops: Expr, reads: Mapping[SSAValue, Expr], writes: Mapping[SSAValue, Expr]
) -> Draft:
    """The draft of convolutions that run in one kernel: every token of a channel once, on the vector units.

    Args:
        ops: The convolutions, of the same tokens.
        flops: Of all of them, with their activations.
        reads: Bytes read by value.
        writes: Bytes written by value.
    """
    tokens = ops[0].type.dims[1].size
    step = tokens is ONE
    sizes = {
        "tokens": tokens,
        "blocks": total(op.type.dims[0].local * op.type.dims[2].local * op.type.dims[3].local for op in ops),
        "flops": flops,
        "bytes_read": total(reads.values()),
        "bytes_written": total(writes.values()),
        "staged_bytes": ZERO,
    }
    variant, rate = "conv_step" if step else "conv", product_rate(ops[0].type.format, ops[0].type.format)
    constants: dict[str, Constant] = {"variant": variant, "chunk": 1.0 if step else float(TILE), "rate": rate}
    return Draft(
        family="recurrence",
        kernel=KernelSpec(kind=Scan, sizes=sizes, constants=constants),
        flops=flops,
        reads=reads,
        writes=writes,
        formula=CONV_FORMULA,
    )
