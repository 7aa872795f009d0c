"""Mixtures of experts: routing, two grouped products and the combination, on the busiest device: `moe`."""

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, FORMATS, LIBRARY_FROM, MEASURED, PROVENANCE, plain_library
from gambrel.calibration.ops.memory_bound import rows_kernel
from gambrel.calibration.routing import busiest_device
from gambrel.cost.kernel import GroupedGemm

POWER_LAW = "power_law_"
"""What a distribution's name begins with whose loads follow p(x) ~ x^-alpha; alpha comes next."""


def build(rows: Rows) -> Call:
    """Routes, gathers, multiplies, activates, multiplies and combines on the device with the most rows."""
    x, library = rows.numbers, rows.only(LIBRARY)
    rate, a, b, c = FORMATS[rows.only("dtype")]
    local, width = x["num_experts"] / x["moe_ep"], x["inter"] / x["moe_tp"]
    loaded, hit = _load(rows, local)
    gates = 1.0 if rows.only("gates") == "1" else 2.0
    # Measured without an exchange, the device routes and combines the tokens of the whole group.
    tokens = x["num_tokens"]

    def product(n: Array, k: Array) -> GroupedGemm:
        return GroupedGemm(
            rows=loaded,
            experts=local,
            hit_experts=hit,
            n=n,
            k=k,
            rate=rate,
            a_bytes=a,
            b_bytes=b,
            c_bytes=c,
            library=library,
        )

    kernels = (
        rows_kernel("route", tokens, x["num_experts"], 4.0 * x["num_experts"], 8.0 * x["topk"]),
        product(gates * width, x["hidden"]),
        rows_kernel("elementwise", loaded, width, gates * width * 2.0, width * a),
        product(x["hidden"], width),
        rows_kernel("gather", tokens, x["hidden"], 2.0 * x["hidden"] * x["topk"], 2.0 * x["hidden"]),
    )
    return Call(kernels=kernels, main=1)


def _load(rows: Rows, local: Array) -> tuple[Array, Array]:
    """Rows and hit experts of the busiest device; evenly spread where the distribution is no power law."""
    x = rows.numbers
    pairs = x["num_tokens"] * x["topk"]
    loaded = pairs / x["moe_ep"]
    hit = np.minimum(local, np.maximum(loaded, 1.0))
    name = rows.only("distribution")
    if not name.startswith(POWER_LAW) or not rows.length:
        return loaded, hit
    alpha = float(name.split("_")[2])
    sizes = [np.unique(values, return_inverse=True) for values in (x["num_experts"], x["moe_ep"], pairs)]
    code = np.zeros(rows.length, dtype=np.intp)
    for values, inverse in sizes:
        code = code * len(values) + inverse
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    busiest = np.array(
        [busiest_device(int(x["num_experts"][i]), int(x["moe_ep"][i]), alpha, int(pairs[i])) for i in first.tolist()]
    )
    return busiest[inverse, 0], busiest[inverse, 1]


def gates_of(kernel_source: str) -> str:
    """Matrices that the hidden state is multiplied with: `1` without a gate, else `2`."""
    return "1" if "nongated" in kernel_source else "2"


MARKS = (
    ("marlin", ("marlin", "vllm_mxfp4_moe")),
    ("triton", ("triton", "vllm_fused_moe")),
    ("trtllm", ("flashinfer_trtllm", "min_latency")),
    ("cutlass", ("flashinfer_cutlass",)),
    ("wideep", ("wideep",)),
)
"""Whose kernel a serving engine runs, by what its name contains; the first that fits."""


def library_of(backend: str, kernel_source: str, source: str, library: str) -> str:
    """The serving engine, marked where its kernel is another project's; else who measured it."""
    name = backend or library or source
    if not backend:
        return plain_library("", source, library)
    mark = next((mark for mark, parts in MARKS if any(part in kernel_source for part in parts)), "")
    return f"{name}-{mark}" if mark else name


MOE = Operation(
    name="moe",
    columns=(
        Column(name="num_tokens", doc="Tokens of the whole expert-parallel group"),
        Column(name="hidden", doc="Hidden size"),
        Column(name="inter", doc="Inner size of one expert"),
        Column(name="topk", doc="Experts per token"),
        Column(name="num_experts", doc="Experts of the group"),
        Column(name="moe_tp", doc="Devices that share an expert", default=1.0),
        Column(name="moe_ep", doc="Devices that the experts are spread over", default=1.0),
        Column(name="distribution", doc="How tokens spread over experts", text=True, default="balanced"),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [
        SiteNumber(rows.numbers["hidden"], whole=True),
        SiteNumber(rows.numbers["inter"] / rows.numbers["moe_tp"], whole=False),
        SiteNumber(rows.numbers["num_experts"] / rows.numbers["moe_ep"], whole=False),
    ],
    known={"dtype": tuple(FORMATS)},
    derived={LIBRARY: Derived(LIBRARY_FROM.sources, library_of), "gates": Derived(("kernel_source",), gates_of)},
    split=("dtype", LIBRARY, "distribution", "gates"),
)
