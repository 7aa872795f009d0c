"""Libraries whose kernels are measured: PyTorch on a processor or a GPU, and NumPy; a call for each designed shape."""

import itertools
import math
from functools import cached_property
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np

from gambrel.calibration.design import Attention, Convolution, Product, Stream
from gambrel.calibration.host import usable_cores
from gambrel.calibration.stopwatch import Call, median_seconds
from gambrel.errors import Problem, UsageError

BackendName = Literal["auto", "torch", "numpy"]

POOL_ELEMENTS = 48 * 2**20
"""Weights are views that rotate over so many numbers, so that each call finds them in memory, not in a cache."""

MOST_COPIES = 64
"""Most copies; small weights stay in the cache in a model too."""


class Backend(Protocol):
    """Makes calls of designed shapes.

    Attributes:
        name: With its version.
        dtype: Number format, as tables name it.
        threads: Threads that calls work with.
        gpu: Name of the GPU; empty on a processor.
        lacks: Tables, kinds and operations that the library has no kernel of its own for.
    """

    name: str
    dtype: str
    threads: int
    gpu: str
    lacks: frozenset[str]

    def product(self, shape: Product) -> Call:
        """A product; a single one with weights that rotate."""
        ...

    def convolution(self, shape: Convolution) -> Call:
        """A convolution with filters that rotate."""
        ...

    def stream(self, shape: Stream) -> Call:
        """A streaming operation."""
        ...

    def attention(self, shape: Attention) -> Call:
        """Fused attention."""
        ...

    def triad(self, elements: int) -> Call:
        """`z = x + y` into memory that is there already."""
        ...

    def seconds(self, call: Call, budget_s: float) -> float:
        """Median seconds of a call, repeated for about so long."""
        ...


def open_backend(name: BackendName, threads: int) -> Backend:
    """PyTorch where it is installed, else NumPy; or the one that is asked for.

    Args:
        name: Which.
        threads: 0 for all cores.

    Raises:
        UsageError: PyTorch is asked for and not installed, or NumPy cannot be held to some threads.
    """
    if name != "numpy":
        try:
            return TorchBackend(import_module("torch"), threads)
        except ImportError:
            if name == "torch":
                fix = "Install PyTorch, or give --backend numpy"
                raise UsageError(Problem(where="--backend torch", what="PyTorch is not installed", fix=fix)) from None
    return NumpyBackend(threads)


def _rotating(pool: Any, *shape: int) -> "itertools.cycle[Any]":
    """Views into a pool of numbers, one after the other and again from the start."""
    size, total = math.prod(shape), len(pool)
    copies = int(np.clip(total // size, 1, MOST_COPIES))
    return itertools.cycle([pool[i * size : (i + 1) * size].reshape(*shape) for i in range(copies)])


class NumpyBackend:
    """NumPy with its BLAS, in fp32."""

    lacks: frozenset[str] = frozenset(
        (
            *("attention_prefill", "attention_decode", "attention_encoder", "conv"),
            *("silu", "gelu", "softmax", "layernorm"),
        )
    )

    def __init__(self, threads: int) -> None:
        self.name = f"NumPy {np.__version__}"
        self.dtype, self.gpu = "float32", ""
        self.threads = threads or usable_cores()
        self._random = np.random.default_rng(0)
        if threads:
            _limit_blas(threads)

    def product(self, shape: Product) -> Call:
        """`a @ b` with rotating weights."""
        a = self._array(shape.b, shape.m, shape.k)
        if shape.b > 1:
            b = self._array(shape.b, shape.k, shape.n)
            return lambda: np.matmul(a, b)
        weights = _rotating(self._pool, shape.n, shape.k)
        return lambda: np.matmul(a[0], next(weights).T)

    def convolution(self, shape: Convolution) -> Call:
        """NumPy has none.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def stream(self, shape: Stream) -> Call:
        """The operations that are one pass of NumPy's."""
        x, y = self._array(shape.rows, shape.cols), self._array(shape.rows, shape.cols)
        if shape.op == "emb":
            table = self._array(max(shape.rows, 4096), shape.cols)
            index = self._random.integers(0, len(table), shape.rows)
            return lambda: table[index]
        calls: dict[str, Call] = {
            "add": lambda: x + y,
            "mul": lambda: x * y,
            "relu": lambda: np.maximum(x, 0.0),
            "copy": x.copy,
        }
        return calls[shape.op]

    def attention(self, shape: Attention) -> Call:
        """NumPy has none.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def triad(self, elements: int) -> Call:
        """`z = x + y` into memory that is there already."""
        x, y, z = (self._array(elements) for _ in range(3))
        return lambda: np.add(x, y, out=z)

    def seconds(self, call: Call, budget_s: float) -> float:
        """Median seconds."""
        return median_seconds(call, budget_s, self.threads)

    @cached_property
    def _pool(self) -> Any:
        return np.full(POOL_ELEMENTS, 0.01, dtype=np.float32)

    def _array(self, *shape: int) -> Any:
        return self._random.random(shape, dtype=np.float32)


def _limit_blas(threads: int) -> None:
    """Holds NumPy's BLAS to some threads.

    Raises:
        UsageError: threadpoolctl, which can, is not installed.
    """
    try:
        import_module("threadpoolctl").threadpool_limits(threads)
    except ImportError:
        import os

        if os.environ.get("OMP_NUM_THREADS") != str(threads):
            fix = f"Set OMP_NUM_THREADS={threads} for the command too"
            what = "NumPy's library picks its own threads"
            raise UsageError(Problem(where=f"--threads {threads}", what=what, fix=fix)) from None


class TorchBackend:
    """PyTorch in eager mode: fp32 on a processor, bf16 on a GPU."""

    lacks: frozenset[str] = frozenset()

    def __init__(self, torch: Any, threads: int) -> None:
        self._torch = torch
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        cuda = bool(torch.cuda.is_available())
        self.name = f"PyTorch {str(torch.__version__).partition('+')[0]}"
        self.gpu = str(torch.cuda.get_device_name()) if cuda else ""
        self.dtype = "bfloat16" if cuda else "float32"
        self._place = {"device": "cuda", "dtype": torch.bfloat16} if cuda else {}
        torch.set_num_threads(threads or usable_cores())
        self.threads = int(torch.get_num_threads())

    def product(self, shape: Product) -> Call:
        """A linear layer with rotating weights; a batched product of activations."""
        functional = self._torch.nn.functional
        a = self._tensor(shape.b, shape.m, shape.k)
        if shape.b > 1:
            b = self._tensor(shape.b, shape.k, shape.n)
            return lambda: self._torch.bmm(a, b)
        a = a[0]
        weights = _rotating(self._pool, shape.n, shape.k)
        return lambda: functional.linear(a, next(weights))

    def convolution(self, shape: Convolution) -> Call:
        """A convolution with rotating filters."""
        x = self._tensor(shape.images, shape.channels_in, shape.size, shape.size)
        weights = _rotating(self._pool, shape.channels_out, shape.channels_in, shape.filter, shape.filter)
        padding = shape.filter // 2
        return lambda: self._torch.conv2d(x, next(weights), stride=shape.stride, padding=padding)

    def stream(self, shape: Stream) -> Call:
        """Elementwise operations, reductions over a row, and a gather."""
        torch, functional = self._torch, self._torch.nn.functional
        x, y = self._tensor(shape.rows, shape.cols), self._tensor(shape.rows, shape.cols)
        table = self._tensor(max(shape.rows, 4096), shape.cols) if shape.op == "emb" else x
        index = torch.randint(len(table), (shape.rows,), device=x.device)
        calls: dict[str, Call] = {
            "add": lambda: x + y,
            "mul": lambda: x * y,
            "relu": lambda: torch.relu(x),
            "silu": lambda: functional.silu(x),
            "gelu": lambda: functional.gelu(x),
            "copy": x.clone,
            "softmax": lambda: torch.softmax(x, -1),
            "layernorm": lambda: functional.layer_norm(x, (shape.cols,)),
            "emb": lambda: functional.embedding(index, table),
        }
        return calls[shape.op]

    def attention(self, shape: Attention) -> Call:
        """PyTorch's fused attention."""
        q = self._tensor(shape.batch, shape.heads, shape.q, shape.head_dim)
        k, v = (self._tensor(shape.batch, shape.kv_heads, shape.kv, shape.head_dim) for _ in range(2))
        attend = self._torch.nn.functional.scaled_dot_product_attention
        shared = shape.kv_heads != shape.heads
        return lambda: attend(q, k, v, is_causal=shape.causal, enable_gqa=shared)

    def triad(self, elements: int) -> Call:
        """`z = x + y` into memory that is there already."""
        x, y, z = (self._tensor(elements) for _ in range(3))
        return lambda: self._torch.add(x, y, out=z)

    def seconds(self, call: Call, budget_s: float) -> float:
        """Median seconds; on a GPU between two events."""
        if not self.gpu:
            return median_seconds(call, budget_s, self.threads)
        events = self._torch.cuda.Event
        for _ in range(3):
            call()
        samples: list[float] = []
        for _ in range(30):
            start, end = events(enable_timing=True), events(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            samples.append(float(start.elapsed_time(end)) * 1e-3)
        return float(np.median(samples))

    @cached_property
    def _pool(self) -> Any:
        return self._torch.full((POOL_ELEMENTS,), 0.01, **self._place)

    def _tensor(self, *shape: int) -> Any:
        return self._torch.randn(*shape, **self._place)
