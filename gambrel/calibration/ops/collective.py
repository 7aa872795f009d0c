"""Collectives inside one node: `collective`."""

from typing import cast, get_args

import numpy as np

from gambrel.calibration.columns import Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, MEASURED, PROVENANCE
from gambrel.cost.kernel import Collective, Transfer

NAMES = {**{name: name for name in get_args(Collective)}, "alltoall": "all_to_all", "p2p": "permute"}
"""The collectives by every name that the tables give them."""


def build(rows: Rows) -> Call:
    """A collective of `num_gpus` neighbours over `message_bytes`."""
    kernel = Transfer(
        op=cast("Collective", rows.only("kind")),
        message_bytes=rows.numbers["message_bytes"],
        group=rows.numbers["num_gpus"],
        stride=1.0,
        library=rows.only(LIBRARY),
    )
    return Call(kernels=(kernel,))


def kind_of(collective: str) -> str:
    """The engine's name of a collective."""
    return NAMES[collective]


def layouts(rows: Rows) -> Text:
    """Groups of one size cross the same links."""
    found, codes = np.unique(rows.numbers["num_gpus"], return_inverse=True)
    return Text(codes.ravel().astype(np.intp), tuple(f"{group:g}" for group in found.tolist()))


def library_of(variant: str, impl: str, library: str) -> str:
    """The kernel inside a serving engine, or the implementation."""
    return variant or library or impl


COLLECTIVE = Operation(
    name="collective",
    columns=(
        Column(name="collective", doc="Which one", text=True, aliases=("op",)),
        Column(name="num_gpus", doc="Devices that take part"),
        Column(name="message_bytes", doc="Buffer, B: what each device puts in, or holds after an all-gather"),
        Column(name="impl", doc="Implementation", text=True, default=""),
        Column(name="variant", doc="Engine, and whether inside a captured graph", text=True, default=""),
        Column(name="dtype", doc=DTYPE.doc, text=True, default=""),
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers["message_bytes"], whole=True)],
    known={"collective": tuple(NAMES)},
    derived={LIBRARY: Derived(("variant", "impl", "library"), library_of), "kind": Derived(("collective",), kind_of)},
    classes=layouts,
    split=("kind", "dtype", LIBRARY),
    op="kind",
)
