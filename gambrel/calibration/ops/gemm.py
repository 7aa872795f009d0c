"""Matrix products, plain and batched: `gemm`."""

from gambrel.calibration.columns import Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import (
    DTYPE,
    FORMATS,
    MEASURED,
    PLAIN_LIBRARY,
    PROVENANCE,
    SERVING,
    loop_of,
    plain_library,
)
from gambrel.cost.kernel import Gemm

QUANTIZING = {(form, library) for form in ("fp8", "fp8_block", "nvfp4", "sq") for library in SERVING}
"""Formats and libraries whose measured call also quantises the activations."""

EAGER = {("fp8_block", "vllm"), ("int8_wo", "sglang")}
"""Formats and libraries that were measured outside a captured graph: the host's time is the least that a call takes."""

ISSUED = ("cutlass", "deepgemm", "flashinfer", "triton")
"""Whose kernels a host issues in times of their own, by what the name of the kernel's class begins with."""

OVERHEAD_S = {("fp8", "trtllm"): 7.2e-6}
"""TensorRT-LLM's fp8 calls never take less than 12.2 us, on Hopper as on Blackwell, where SGLang's take 4.6 to 4.9 us
and its own fp8_block calls 4.5 to 5.1 us. The difference of the least times is taken as an overhead of its calls."""


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
)
