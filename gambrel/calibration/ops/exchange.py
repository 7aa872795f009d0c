"""Tokens sent to the devices of their experts and back: `moe_alltoall`."""

import numpy as np

from gambrel.calibration.columns import Column, Rows
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, ELEMENT_BYTES, MEASURED, PROVENANCE
from gambrel.cost.kernel import Transfer

LOW_LATENCY = ("ll", "deepep_ll", "trtllm_deepep_ll", "deepep_v2_generation")
"""Protocols that send a copy to each expert; the others send one to each device that holds some of them."""

DISPATCHED = {"": 1.03125, "default": 2.0, "fp8": 1.03125, "nvfp4": 0.5625, "fp4": 0.5625}
"""Bytes of an element on the way to the experts by the table's format; DeepEP's own measurements send fp8. Results
come back at two bytes.

Source: DeepEP, README, "Performance": dispatch in FP8 and combine in BF16.
"""


def build(rows: Rows) -> Call:
    """An all-to-all of each token's hidden state to `topk` experts over `ep_size` devices."""
    x = rows.numbers
    ranks, topk = x["ep_size"], x["topk"]
    protocol = rows.only("comm_backend") or rows.only("op_name")
    copies = topk if protocol in LOW_LATENCY else ranks * (1.0 - np.power(1.0 - 1.0 / ranks, topk))
    form = rows.only("dtype")
    element = DISPATCHED.get(form, ELEMENT_BYTES.get(form, 2.0)) if rows.only("phase") == "dispatch" else 2.0
    kernel = Transfer(
        op="all_to_all",
        message_bytes=x["num_tokens"] * copies * x["hidden"] * element,
        group=ranks,
        stride=1.0,
        units=x["sms"],
        library=rows.only(LIBRARY),
    )
    return Call(kernels=(kernel,))


def library_of(comm_backend: str, op_name: str, phase: str) -> str:
    """Protocol and direction: `sglang_deepep_normal-dispatch`."""
    return f"{comm_backend or f'sglang_deepep_{op_name}'}-{phase}"


MOE_ALLTOALL = Operation(
    name="moe_alltoall",
    columns=(
        Column(name="op_name", doc="Which protocol", text=True),
        Column(name="comm_backend", doc="Which protocol inside a serving engine", text=True, default=""),
        Column(name="phase", doc="dispatch or combine", text=True),
        Column(name="ep_size", doc="Devices that the experts are spread over", default=8.0),
        Column(name="node_num", doc="Nodes", default=1.0),
        Column(name="num_tokens", doc="Tokens of one device"),
        Column(name="hidden", doc="Hidden size"),
        Column(name="topk", doc="Experts per token"),
        Column(name="num_experts", doc="Experts"),
        Column(name="sms", doc="Units that the kernel runs on; 0 for its own choice", default=0.0),
        Column(name="dtype", doc=DTYPE.doc, text=True, default=""),
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers[name], whole=True) for name in ("hidden", "topk", "num_tokens")],
    known={"dtype": ("", *DISPATCHED, *ELEMENT_BYTES)},
    derived={LIBRARY: Derived(("comm_backend", "op_name", "phase"), library_of)},
    split=("op_name", "comm_backend", "phase", "dtype", LIBRARY),
    op="phase",
)
