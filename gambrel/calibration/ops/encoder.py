"""Attention without a mask, as encoders of images and text run it: `attention_encoder`."""

import numpy as np

from gambrel.calibration.columns import Column, Rows, Text
from gambrel.calibration.operation import LIBRARY, Call, Operation, SiteNumber
from gambrel.calibration.ops.common import DTYPE, FORMATS, LIBRARY_FROM, MEASURED, PROVENANCE, loop_of
from gambrel.cost.kernel import Attention


def build(rows: Rows) -> Call:
    """Each of `s` tokens attends to all of them; no cache."""
    x = rows.numbers
    head_dim = float(x["head_dim"][0]) if rows.length else 0.0
    form = FORMATS[rows.only("dtype")]
    kernel = Attention(
        batch=x["batch"],
        q_len=x["s"],
        kv_len=x["s"],
        pairs=x["s"] * x["s"],
        heads=x["num_heads"],
        kv_heads=x["num_heads"],
        head_dim=head_dim,
        v_head_dim=head_dim,
        q_bytes=form.a_bytes,
        kv_bytes=form.a_bytes,
        kv_bytes_total=x["batch"] * x["s"] * x["num_heads"] * 2.0 * head_dim * form.a_bytes,
        decode=False,
        rate=form.rate,
        masked=False,
        library=rows.only(LIBRARY),
    )
    return Call(kernels=(kernel,), residency=loop_of(kernel.library.partition("-")[0]))


def _head_sizes(rows: Rows) -> Text:
    sizes, size = np.unique(rows.numbers["head_dim"], return_inverse=True)
    return Text(size.astype(np.intp), tuple(f"{d:g}" for d in sizes.tolist()))


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
    build=build,
    site=lambda rows: [SiteNumber(rows.numbers[name], whole=False) for name in ("num_heads", "head_dim")],
    known={"dtype": tuple(FORMATS)},
    derived={LIBRARY: LIBRARY_FROM},
    classes=_head_sizes,
)
