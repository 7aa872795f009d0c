"""Mixtures of experts: routing, two grouped products and the combination, on the busiest device: `moe`.

What a call runs beside the products of its own experts depends on the software; SHARING says what each was seen to do.
"""

import re
from typing import NamedTuple

import numpy as np

from gambrel.calibration.columns import Array, Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import (
    BF16,
    DTYPE,
    FORMATS,
    LIBRARY_FROM,
    MEASURED,
    PROVENANCE,
    Format,
    plain_library,
)
from gambrel.calibration.ops.memory_bound import rows_kernel
from gambrel.calibration.routing import Load, balanced_load, power_law_load
from gambrel.cost.engines import Residency
from gambrel.cost.kernel import GroupedGemm

POWER_LAW = "power_law_"
"""What a distribution's name begins with whose loads follow p(x) ~ x^-alpha; alpha comes next."""

BALANCED_BY_COPIES = "_eplb"
"""How its name ends where copies of busy experts even the devices out."""

UNGATED = ((2688.0, 1856.0), (8192.0, 5120.0))
"""Hidden and inner size of models whose experts have no gate.

Source: `mlp_hidden_act: relu2` in the configurations of NVIDIA's Nemotron 3 Nano and Ultra.
"""

SHARING = {
    "own": "kernels skip the pairs of other devices' experts",
    "all": "the activation and the sum touch the pairs of the whole group",
    "first": "of the tokens that reach the device all pairs are multiplied, those of other devices by its first expert",
    "whole": "the device holds the experts of the whole group",
}
"""What an expert-parallel device does with pairs of experts that it does not hold.

Source: aiconfigurator 0.12.0, collector/{trtllm,vllm,sglang}/collect_moe.py, and the versions of these files from which
older rows come.
"""


class Pairs(NamedTuple):
    """Pairs of token and expert, per row of the table.

    Attributes:
        load: What the device's experts get.
        local: Experts that the device holds.
        tokens: Tokens that the call is given.
        computed: Pairs that are multiplied.
        touched: Pairs that the activation and the sum touch.
        even: Whether all experts that are hit get as many.
    """

    load: Load
    local: Array
    tokens: Array
    computed: Array
    touched: Array
    even: bool


def build(rows: Rows) -> Call:
    """Routes, gathers, multiplies, activates, multiplies and combines on the device with the most rows."""
    x, library = rows.numbers, rows.only(LIBRARY)
    rate, a, b, c = _format(rows.only("dtype"), library)
    width, hidden = x["inter"] / x["moe_tp"], x["hidden"]
    gates, pairs = _gates(rows), _pairs(rows)

    def product(n: Array, k: Array) -> GroupedGemm:
        return GroupedGemm(
            rows=pairs.computed,
            experts=pairs.local,
            hit_experts=pairs.load.hit,
            n=n,
            k=k,
            rate=rate,
            a_bytes=a,
            b_bytes=b,
            c_bytes=c,
            offered_rows=pairs.tokens * x["topk"],
            even=pairs.even,
            library=library,
        )

    # Measured without an exchange, the device routes the tokens of the whole group.
    kernels = (
        rows_kernel("route", x["num_tokens"], x["num_experts"], 4.0 * x["num_experts"], 8.0 * x["topk"]),
        product(gates * width, hidden),
        rows_kernel("elementwise", pairs.touched, width, gates * width * 2.0, width * a),
        product(hidden, width),
        rows_kernel("gather", pairs.tokens, hidden, 2.0 * hidden * pairs.touched / pairs.tokens, 2.0 * hidden),
    )
    weights = pairs.load.distinct * (gates + 1.0) * width * hidden * b
    activations = pairs.tokens * hidden * 2.0 + pairs.computed * (width * (gates * 2.0 + a) + hidden * 2.0)
    loop = Residency(activations_hot=True, working_set_bytes=weights + activations)
    return Call(kernels=kernels, main=1, residency=loop)


def _format(dtype: str, library: str) -> Format:
    """Formats of a call; SGLang's Triton kernels widen four-bit weights when they are loaded, not in the kernel."""
    return BF16 if library == "sglang-triton" and dtype == "w4a16_mxfp4" else FORMATS[dtype]


def _gates(rows: Rows) -> Array:
    """Matrices that the hidden state is multiplied with: 1 without a gate, else 2."""
    x, text = rows.numbers, rows.only("gates")
    given = np.full(rows.length, 1.0 if text == "none" else 2.0)
    shapes = [(x["hidden"] == hidden) & (x["inter"] == inter) for hidden, inter in UNGATED]
    return np.where(np.logical_or.reduce(shapes), 1.0, given) if text == "model" else given


def _pairs(rows: Rows) -> Pairs:
    """What the measured device is given, multiplies and touches."""
    x, sharing = rows.numbers, rows.only("sharing")
    tokens, top_k = x["num_tokens"], x["topk"]
    ep = np.ones(rows.length) if sharing == "whole" else x["moe_ep"]
    local = np.where(x["num_slots"] > 0.0, x["num_slots"], x["num_experts"]) / ep
    load, even = _load(rows, ep, local)
    computed = touched = load.rows
    if sharing == "all":
        touched = tokens * top_k
    if sharing == "first":
        tokens = np.where(ep > 1.0, load.reached, tokens)
        computed = touched = np.where(ep > 1.0, tokens * top_k, load.rows)
        even = False
    return Pairs(load, local, np.maximum(tokens, 1.0), computed, touched, even)


def _load(rows: Rows, ep: Array, local: Array) -> tuple[Load, bool]:
    """Rows and hit experts of the device that is measured, and whether its experts get as many."""
    x, name = rows.numbers, rows.only("distribution")
    tokens, experts, top_k = x["num_tokens"], x["num_experts"], x["topk"]
    if name.endswith(BALANCED_BY_COPIES):
        mean = tokens * top_k / ep
        hit = np.minimum(local, np.maximum(mean, 1.0))
        return Load(mean, hit, tokens * (1.0 - (1.0 - 1.0 / ep) ** top_k), hit), False
    if name.startswith(POWER_LAW):
        reached = rows.only("sharing") == "first"
        return power_law_load(tokens, experts, top_k, ep, float(name.split("_")[2]), reached=reached), False
    return balanced_load(tokens, experts, top_k, ep), True


MARKS = (
    ("wna16", ("marlin_int4_moe",)),
    ("mxfp4", ("vllm_mxfp4_moe",)),
    ("openai", ("oaitriton",)),
    ("marlin", ("marlin",)),
    ("triton", ("triton", "vllm_fused_moe")),
    ("trtllm", ("flashinfer_trtllm", "min_latency")),
    ("cutlass", ("flashinfer_cutlass",)),
    ("wideep", ("wideep",)),
)
"""Whose kernel a serving engine runs, by what its name contains; the first that fits."""

ALL_PAIRS = ("vllm-triton", "vllm-marlin", "vllm-wna16", "sglang-triton", "sglang-marlin")
"""Libraries whose activation and sum touch all pairs."""

FIRST_EXPERT = (("sglang-triton", "sglang-marlin"), (0, 5, 10))
"""Libraries that were measured with other devices' pairs on the first expert, and the last version that was."""

OWN_LAYERS = {"vllm": (0, 24), "sglang": (0, 5, 14)}
"""From which version on engines were measured by the layers of their models, gates and all."""


def library_of(backend: str, kernel_source: str, source: str, library: str) -> str:
    """The serving engine, marked where its kernel is another project's; else who measured it."""
    name = backend or library or source
    if not backend:
        return plain_library("", source, library)
    mark = next((mark for mark, parts in MARKS if any(part in kernel_source for part in parts)), "")
    return f"{name}-{mark}" if mark else name


def sharing_of(backend: str, kernel_source: str, version: str) -> str:
    """Which of SHARING a call does; without a version, what the newest does."""
    library = library_of(backend, kernel_source, "", "") if backend else ""
    if library == "vllm-mxfp4":
        return "whole"
    old, last = FIRST_EXPERT
    if library in old and version and _release(version) <= last:
        return "first"
    return "all" if library in ALL_PAIRS else "own"


def gates_of(backend: str, kernel_source: str, version: str) -> str:
    """`none` without a gate, `model` where the model's own layer was measured, else `one`."""
    if "nongated" in kernel_source:
        return "none"
    own = backend in OWN_LAYERS and (not version or _release(version) >= OWN_LAYERS[backend])
    return "model" if own else "one"


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


CALL = ("backend", "kernel_source", "version")
"""Text columns that say what a call does."""

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
        Column(name="num_slots", doc="Experts of the group with their copies; 0 for no copies", default=0.0),
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
    derived={
        LIBRARY: Derived(LIBRARY_FROM.sources, library_of),
        "gates": Derived(CALL, gates_of),
        "sharing": Derived(CALL, sharing_of),
    },
    split=("dtype", LIBRARY, "distribution", "gates", "sharing"),
)
