"""What a kernel is to a cost engine: its shape as arrays, and the time and bound that come back.

All counts are per device. Every numeric field is a scalar or an array; arrays broadcast against each other, so that
one call prices a whole design space.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Number = float | Array

BOUNDS = ("compute", "memory", "network", "latency")
"""What a kernel can be bound by; `KernelCost.bound` indexes this tuple."""

Elementwise = Literal[
    "elementwise",
    "activation",
    "norm",
    "softmax",
    "embedding",
    "gather",
    "append",
    "route",
    "sample",
    "quantize",
    "copy",
]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "permute", "broadcast"]


class KernelCost(NamedTuple):
    """Seconds per execution and the index into BOUNDS of what takes the longest."""

    seconds: Array
    bound: NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """`C[b, m, n] = A[b, m, k] B[b, k, n]`; b counts independent products, B is the weight (or the second operand).

    Attributes:
        rate: Number format whose matrix rate applies, a key of `Device.matrix_flops_per_s`.
        a_bytes, b_bytes, c_bytes: Bytes per element, block scales counted.
        quantized_from_bytes: Bytes per element of A before a separate kernel of the same call quantises it; 0 where
            A arrives in its format (quantised by a row of its own, or never).
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
        host_work: Work of the host to issue the call by itself, relative to that of adding two tensors; 0 where it is
            issued with others, as in a captured graph.
    """

    m: Number
    n: Number
    k: Number
    batch: Number
    rate: str
    a_bytes: float
    b_bytes: float
    c_bytes: float
    quantized_from_bytes: float = 0.0
    library: str = ""
    host_work: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A square filter over images: `[images, channels_in, height, width]` to `channels_out` channels.

    Attributes:
        height, width: Of an image before `padding` zeros are put around it.
        filter: Elements of a side of the filter.
        stride: Elements that the filter moves on in either direction.
        rate, a_bytes, b_bytes, c_bytes: As of a product, of images, filters and results.
        library, host_work: As of a product.
    """

    images: Number
    channels_in: Number
    channels_out: Number
    height: Number
    width: Number
    filter: Number
    stride: Number
    padding: Number
    rate: str
    a_bytes: float
    b_bytes: float
    c_bytes: float
    library: str = ""
    host_work: Number = 0.0

    @property
    def out_height(self) -> Number:
        """Rows of a result."""
        return np.floor((self.height + 2.0 * self.padding - self.filter) / self.stride) + 1.0

    @property
    def out_width(self) -> Number:
        """Columns of a result."""
        return np.floor((self.width + 2.0 * self.padding - self.filter) / self.stride) + 1.0

    def product(self) -> Gemm:
        """The product of the same arithmetic: a row for each place of the filter, `channels_in filter^2` deep."""
        return Gemm(
            m=self.images * self.out_height * self.out_width,
            n=self.channels_out,
            k=self.channels_in * self.filter * self.filter,
            batch=1.0,
            rate=self.rate,
            a_bytes=self.a_bytes,
            b_bytes=self.b_bytes,
            c_bytes=self.c_bytes,
            library=self.library,
            host_work=self.host_work,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedGemm:
    """Expert matrix products: `rows` rows spread over the `experts` experts of this device, each `[r, k] x [k, n]`.

    Attributes:
        rows: Token-expert pairs computed on this device (mean over devices).
        experts: Experts resident on this device.
        hit_experts: Experts of those that receive at least one row (expected value).
        offered_rows: Pairs that the device is given to sort, which are those of the whole group where every device sees
            all tokens; None where it gets its own only. Libraries size their tiles by it.
        even: Whether every hit expert gets the same number of rows; else they vary about their mean.
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
    """

    rows: Number
    experts: Number
    hit_experts: Number
    n: Number
    k: Number
    rate: str
    a_bytes: float
    b_bytes: float
    c_bytes: float
    offered_rows: Number | None = None
    even: bool = False
    library: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax attention of `q_len` new tokens per sequence over `kv_len` keys (the new ones included).

    Attributes:
        batch: Sequences on this device.
        pairs: Query-key pairs per sequence and head that are computed (causal and window savings taken).
        kv_len: Keys that are read per sequence, window applied.
        heads, kv_heads: On this device.
        head_dim: Of queries and keys.
        v_head_dim: Of values.
        kv_bytes: Bytes per element of the cache.
        q_bytes: Bytes per element of queries and outputs.
        kv_bytes_total: Key and value bytes read, all sequences (latent caches are read once for both).
        decode: Whether the split-KV decode kernel runs (one new token per sequence).
        rate: Number format whose matrix rate applies.
        masked: Whether later keys are hidden from a query, or those beyond a window; an encoder hides none.
        prologue: Whether the same call also rotates queries and keys and writes the new ones to the cache, as the fused
            operators of serving engines do; False where rows of their own price that.
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
        window: Keys that a query reaches back to; infinity for all.
        cached_len: Keys per sequence that the cache holds, where a window hides some; 0 for as many as are read.
    """

    batch: Number
    q_len: Number
    kv_len: Number
    pairs: Number
    heads: Number
    kv_heads: Number
    head_dim: float
    v_head_dim: float
    q_bytes: float
    kv_bytes: float
    kv_bytes_total: Number
    decode: bool
    rate: str
    masked: bool = True
    prologue: bool = False
    library: str = ""
    window: Number = math.inf
    cached_len: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A linear recurrence over a sequence: chunks of tokens by matrix products, or one step for one new token.

    Attributes:
        variant: Which recurrence, `gdn` or `mamba2`, or `conv` for the short convolution before it; `step` and
            `conv_step` for one new token, a sweep over the states.
        tokens: New tokens per sequence.
        chunk: Tokens that are computed at once; of a convolution, those that one block takes.
        blocks: Pieces of work that may run side by side.
        flops: FLOPs of all tokens, without the padding of the last chunk.
        bytes_read: Queries, keys, values, controls and states, once.
        bytes_written: Outputs and states, once.
        staged_bytes: Bytes beyond these that pass through memory where each part of the chunked form is a kernel of
            its own.
        rate: Number format whose matrix rate applies.
        in_place_bytes: Of the bytes written, those that take the place of bytes read: the states.
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
    """

    variant: Literal["gdn", "mamba2", "step", "conv", "conv_step"]
    tokens: Number
    chunk: float
    blocks: Number
    flops: Number
    bytes_read: Number
    bytes_written: Number
    staged_bytes: Number
    rate: str
    in_place_bytes: Number = 0.0
    library: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBound:
    """Everything whose time is its traffic: `rows` independent rows, `cols` elements each.

    Attributes:
        op: Which of the kinds; reductions over a row (norm, softmax) read it more than once.
        flops: Arithmetic outside the matrix units.
        reduced_bytes: Of the bytes read, those of the tensor that is reduced; None for all. Inputs that are only added
            on the way are not read again.
        shared_bytes: Of the bytes read, those that are the same for every row, such as the weights of a norm.
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
        host_work: As of a product.
    """

    op: Elementwise
    rows: Number
    cols: Number
    bytes_read: Number
    bytes_written: Number
    flops: Number
    reduced_bytes: Number | None = None
    shared_bytes: Number = 0.0
    library: str = ""
    host_work: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A collective or a point-to-point send over one group of devices.

    Attributes:
        message_bytes: all_reduce, reduce_scatter, all_to_all: the buffer that each device puts in; all_gather and
            broadcast: the buffer that each device holds in the end; permute: what one device sends.
        group: Devices that take part.
        stride: Distance in ranks between neighbours of the group (1 for the innermost mesh axis); group x stride says
            which network levels it crosses.
        per_node: Most devices of the group that are in one node, that is, inside every level but the outermost;
            infinity where the group fills nodes before it leaves them.
        units: Units of the device that the kernel runs on; 0 for as many as it likes.
        library: Which software's kernels run, such as `vllm`; empty for no particular one. It only picks parameters.
    """

    op: Collective
    message_bytes: Number
    group: Number
    stride: Number
    per_node: Number = math.inf
    units: Number = 0.0
    library: str = ""


Kernel = Gemm | Convolution | GroupedGemm | Attention | Scan | MemoryBound | Transfer
