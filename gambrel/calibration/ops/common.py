"""What tables of several families share: provenance columns, libraries, number formats, measuring loops."""

from typing import NamedTuple

from gambrel.calibration.columns import Column
from gambrel.calibration.operation import Derived
from gambrel.cost.engines import COLD, Residency

SERVING = ("trtllm", "vllm", "sglang")
"""Serving engines whose kernels aiconfigurator measured."""

LOOP = Residency(activations_hot=True, weight_copies=5.0)
"""aiconfigurator's loops reuse activations and rotate over several copies of the weights."""

HOT = Residency(activations_hot=True, weight_copies=1.0)
"""Loops that run the same call on the same operands."""

LOOPS = {
    **dict.fromkeys(SERVING, LOOP),
    **dict.fromkeys(("neusight", "llmcompass", "llmcompassplus", "ascend"), HOT),
}
"""Where operands are in the loop of each library or source; cold for what is not here."""

EAGER_SOURCES = ("neusight", "llmcompass", "eager")
"""Sources whose calls PyTorch issued by themselves, outside a captured graph; `eager` for a user's own."""

PROVENANCE = (
    Column(name="backend", doc="Serving engine whose kernel runs", text=True, default=""),
    Column(name="kernel_source", doc="Kernel inside that engine", text=True, default=""),
    Column(name="version", doc="Version of that engine", text=True, default=""),
    Column(name="source", doc="Who measured it", text=True, default=""),
    Column(name="library", doc="Whose kernels run, where no backend is given", text=True, default=""),
)
"""Columns that say whose kernels were measured; all optional."""

DTYPE = Column(name="dtype", doc="Number format", text=True)

MEASURED = Column(name="latency_us", doc="Measured time, us; read for scores only", default=float("nan"))


def library_of(backend: str, kernel_source: str, source: str, library: str) -> str:
    """The serving engine, marked where its kernel is one of Triton or FlashInfer; else who measured it."""
    name = backend or library or source
    if name.startswith(("aiconfigurator", "aisimulate")):
        return ""
    if not backend:
        return name
    if "triton" in kernel_source or kernel_source == "vllm_fused_moe":
        return f"{name}-triton"
    other = "flashinfer" in kernel_source and "trtllm" not in kernel_source and "moe" not in kernel_source
    return f"{name}-flashinfer" if other else name


LIBRARY_FROM = Derived(("backend", "kernel_source", "source", "library"), library_of)


def plain_library(backend: str, source: str, library: str) -> str:
    """The serving engine, or who measured it; fallbacks are not told apart."""
    return library_of(backend, "", source, library)


PLAIN_LIBRARY = Derived(("backend", "source", "library"), plain_library)


def loop_of(library: str) -> Residency:
    """Where operands are when a call of a measuring loop starts."""
    return LOOPS.get(library, COLD)


class Format(NamedTuple):
    """A label of the tables: the rate, and bytes per element of A, B and C with their block scales."""

    rate: str
    a_bytes: float
    b_bytes: float
    c_bytes: float


BF16 = Format("bf16", 2.0, 2.0, 2.0)
FP16 = Format("fp16", 2.0, 2.0, 2.0)
FP32 = Format("fp32", 4.0, 4.0, 4.0)
INT8 = Format("int8", 1.0, 1.0, 2.0)

FORMATS = {
    "bfloat16": BF16,
    "bf16": BF16,
    "float16": FP16,
    "fp16": FP16,
    "half": FP16,
    "float32": FP32,
    "fp32": FP32,
    "tf32": Format("tf32", 4.0, 4.0, 4.0),
    "fp8": Format("fp8", 1.0, 1.0, 2.0),
    "fp8_block": Format("fp8", 1.03125, 1.0, 2.0),
    "nvfp4": Format("nvfp4", 0.5625, 0.5625, 2.0),
    "mxfp4": Format("mxfp4", 0.53125, 0.53125, 2.0),
    "int8": INT8,
    "sq": INT8,
    "int8_wo": Format("bf16", 2.0, 1.0, 2.0),
    "int4_wo": Format("bf16", 2.0, 0.53125, 2.0),
    "w4a16_mxfp4": Format("bf16", 2.0, 0.53125, 2.0),
    "w4a8_mxfp4_mxfp8": Format("fp8", 1.03125, 0.53125, 2.0),
    "w4afp8": Format("fp8", 1.0, 0.53125, 2.0),
}
"""Every number format that the tables name."""

ELEMENT_BYTES = {name: form.a_bytes for name, form in FORMATS.items()}
"""Bytes of an element that is streamed in a format."""
