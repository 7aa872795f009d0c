"""Matrix products, plain and batched: `gemm`."""

import numpy as np

from gambrel.calibration.columns import Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import (
    DTYPE,
    EAGER_SOURCES,
    FORMATS,
    MEASURED,
    PLAIN_LIBRARY,
    PROVENANCE,
    SERVING,
    loop_of,
    plain_library,
)
from gambrel.cost.kernel import Gemm

QUANTIZING = {(form, library) for form in ("fp8", "fp8_block", "nvfp4") for library in SERVING}
"""Formats and libraries whose measured call also quantises the activations."""

EAGER = {("fp8_block", "vllm"), ("int8_wo", "sglang")}
"""Formats and libraries that were measured outside a captured graph: the host's time is the least that a call takes."""

ISSUED = ("cutlass", "deepgemm", "flashinfer", "triton")
"""Whose kernels a host issues in times of their own, by what the name of the kernel's class begins with."""

OVERHEAD_S = {("fp8", "trtllm"): 7.2e-6}
"""TensorRT-LLM's fp8 calls never take less than 12.2 us, on Hopper as on Blackwell, where SGLang's take 4.6 to 4.9 us
and its own fp8_block calls 4.5 to 5.1 us. The difference of the least times is taken as an overhead of its calls."""


LINEAR_WORK, BATCHED_WORK = 2.0, 1.2
"""Work of the host to issue a linear layer with a bias, and a batched product, relative to adding two tensors.

Source: ratios of the least times of NeuSight's operations, as of `memory_bound`.
"""


def _host_work(rows: Rows, library: str) -> float:
    if library not in EAGER_SOURCES:
        return 0.0
    return BATCHED_WORK if rows.only("class") == "batched" else LINEAR_WORK


def build(rows: Rows) -> Call:
    """`C[b, m, n] = A[b, m, k] B[b, k, n]`."""
    form, library = rows.only("dtype"), rows.only(LIBRARY)
    engine = library.partition("-")[0]
    rate, a, b, c = FORMATS[form]
    x = rows.numbers
    kernel = Gemm(
        m=x["m"],
        n=x["n"],
        k=x["k"],
        batch=x["b"],
        rate=rate,
        a_bytes=a,
        b_bytes=b,
        c_bytes=c,
        quantized_from_bytes=2.0 if (form, engine) in QUANTIZING else 0.0,
        library=library,
        host_work=_host_work(rows, library),
    )
    return Call(kernels=(kernel,), residency=loop_of(engine), overhead_s=OVERHEAD_S.get((form, engine), 0.0))


def library_of(backend: str, source: str, library: str, dtype: str, kernel_source: str) -> str:
    """The serving engine or who measured it; where the host issues the kernels one by one, whose kernels these are."""
    name = plain_library(backend, source, library)
    if (dtype, name) not in EAGER:
        return name
    kernel = kernel_source.lower()
    mark = next((f"-{each}" for each in ISSUED if kernel.startswith(each)), "")
    return f"{name}{mark}-eager"


def _batching(rows: Rows) -> Text:
    """One product or several, which libraries compute by kernels of their own."""
    return Text((rows.numbers["b"] > 1.0).astype(np.intp), ("single", "batched"))


GEMM = Operation(
    name="gemm",
    columns=(
        Column(name="m", doc="Rows of A"),
        Column(name="n", doc="Columns of B"),
        Column(name="k", doc="The contracted dimension"),
        Column(name="b", doc="Independent products", default=1.0, aliases=("batch",)),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers[name], whole=False) for name in ("n", "k")],
    known={"dtype": tuple(FORMATS)},
    derived={LIBRARY: Derived((*PLAIN_LIBRARY.sources, "dtype", "kernel_source"), library_of)},
    classes=_batching,
)
