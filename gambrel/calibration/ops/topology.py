"""Collectives inside one node and between nodes, on machines of known topology: `collective_topology`."""

from typing import cast

import numpy as np

from gambrel.calibration.columns import Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Derived, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, MEASURED, PROVENANCE
from gambrel.cost.kernel import Collective, Transfer

NAMES = {"all_reduce": "all_reduce", "send_recv": "permute"}
"""The collectives by the names that the table gives them."""


def build(rows: Rows) -> Call:
    """A collective of NCCL over `ngpu` devices, `devs_per_node` of them in each node; a send has one receiver."""
    kernel = Transfer(
        op=cast("Collective", rows.only("kind")),
        message_bytes=rows.numbers["size"],
        group=rows.numbers["ngpu"],
        stride=1.0,
        per_node=rows.numbers["devs_per_node"],
        library=rows.only(LIBRARY),
    )
    return Call(kernels=(kernel,))


def layouts(rows: Rows) -> Text:
    """Rows of one layout cross the same links: how many devices, and how many of them in a node."""
    each = np.stack([rows.numbers["ngpu"], rows.numbers["devs_per_node"]], axis=1)
    found, codes = np.unique(each, axis=0, return_inverse=True)
    return Text(codes.ravel().astype(np.intp), tuple(f"{group:g} by {inside:g}" for group, inside in found.tolist()))


def _kind(op: str) -> str:
    return NAMES[op]


def _library(library: str) -> str:
    """Measured through PyTorch, which calls NCCL."""
    return library or "nccl"


COLLECTIVE_TOPOLOGY = Operation(
    name="collective_topology",
    columns=(
        Column(name="op", doc="all_reduce or send_recv", text=True),
        Column(name="ngpu", doc="Devices that take part"),
        Column(name="size", doc="Buffer of each device, B"),
        Column(name="devs_per_node", doc="Of these in one node"),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers["size"], whole=True)],
    known={"op": tuple(NAMES)},
    derived={LIBRARY: Derived(("library",), _library), "kind": Derived(("op",), _kind)},
    classes=layouts,
    split=("kind", "dtype", LIBRARY),
    op="kind",
)
