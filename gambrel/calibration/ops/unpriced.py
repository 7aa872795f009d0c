"""Measured operations that no engine prices yet: their columns are known, an estimate is refused."""

from gambrel.calibration.columns import Column
from gambrel.calibration.operation import LIBRARY, Operation
from gambrel.calibration.ops.common import DTYPE, LIBRARY_FROM, MEASURED, PROVENANCE

CONV = Operation(
    name="conv",
    columns=(
        Column(name="B", doc="Images", aliases=("batch",)),
        Column(name="Input_Channel", doc="Channels in"),
        Column(name="Output_Channel", doc="Channels out"),
        Column(name="Kernel_Size", doc="Width and height of the filter", aliases=("Kernel_Szie",)),
        Column(name="Input_Size", doc="Width and height of the image"),
        Column(name="Stride", doc="Step of the filter", default=1.0),
        Column(name="Padding", doc="Zeros around the image", default=0.0),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
)

ATTENTION_ENCODER = Operation(
    name="attention_encoder",
    columns=(
        Column(name="batch", doc="Sequences"),
        Column(name="s", doc="Tokens per sequence"),
        Column(name="num_heads", doc="Heads"),
        Column(name="head_dim", doc="Elements of a head"),
        DTYPE,
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
)

MLA = Operation(
    name="mla",
    columns=(
        Column(name="num_heads", doc="Query heads of the device"),
        Column(name="batch", doc="Sequences"),
        Column(name="isl", doc="New tokens per sequence"),
        Column(name="step", doc="Tokens per sequence that are cached already", default=0.0),
        Column(name="tp_size", doc="Devices that share the heads", default=1.0),
        Column(name="table", doc="Which measurement: prefill or decode, attention alone or the module", text=True),
        DTYPE,
        Column(name="kv_dtype", doc="Number format of the cache", text=True, default=""),
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
    split=("table", "dtype", "kv_dtype", LIBRARY),
    dtypes=("dtype", "kv_dtype"),
    op="table",
)

MOE_ALLTOALL = Operation(
    name="moe_alltoall",
    columns=(
        Column(name="op_name", doc="Which protocol", text=True),
        Column(name="phase", doc="dispatch or combine", text=True),
        Column(name="ep_size", doc="Devices that the experts are spread over", default=8.0),
        Column(name="node_num", doc="Nodes", default=1.0),
        Column(name="num_tokens", doc="Tokens of one device"),
        Column(name="hidden", doc="Hidden size"),
        Column(name="topk", doc="Experts per token"),
        Column(name="num_experts", doc="Experts"),
        Column(name="dtype", doc=DTYPE.doc, text=True, default=""),
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
    split=("phase", "op_name", "dtype", LIBRARY),
    op="phase",
)

LINEAR_ATTENTION = Operation(
    name="linear_attention",
    columns=(
        Column(name="op_name", doc="Which recurrence: gdn or mamba2", text=True),
        Column(name="phase", doc="context or generation", text=True),
        Column(name="batch", doc="Sequences"),
        Column(name="seq_len", doc="New tokens per sequence"),
        Column(name="d_model", doc="Hidden size"),
        Column(name="dtype", doc=DTYPE.doc, text=True, default="bfloat16"),
        *PROVENANCE,
        MEASURED,
    ),
    derived={LIBRARY: LIBRARY_FROM},
    split=("kernel_source", "phase", "dtype", LIBRARY),
    op="kernel_source",
)

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

UNPRICED = (CONV, ATTENTION_ENCODER, MLA, MOE_ALLTOALL, LINEAR_ATTENTION, COLLECTIVE_TOPOLOGY)
"""What is refused."""
