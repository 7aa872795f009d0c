"""Measured operations that no engine prices yet: their columns are known, an estimate is refused."""

from gambrel.calibration.columns import Column
from gambrel.calibration.operation import LIBRARY, Operation
from gambrel.calibration.ops.common import DTYPE, LIBRARY_FROM, MEASURED, PROVENANCE

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
    derived={LIBRARY: LIBRARY_FROM},
    split=("op", "dtype", LIBRARY),
    op="op",
)

UNPRICED = (COLLECTIVE_TOPOLOGY,)
"""What is refused."""
