"""The files that imports write: one table an operation, with the columns of each."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["count", "size", "number", "positive", "text"]
"""What cells hold: whole numbers from 1, whole numbers from 0, numbers, numbers above 0, or names."""


class Field(NamedTuple):
    """One column of a table.

    Attributes:
        name: As the files name it; lengths are in elements, `latency_us` in us, `power_w` in W, `message_bytes` in B.
        kind: What its cells hold.
        required: Whether a row without a value is left out.
    """

    name: str
    kind: Kind
    required: bool


def _fields(*, text: str = "", count: str = "", size: str = "", number: str = "") -> Mapping[str, Field]:
    """Columns from their names, a trailing `!` where every row needs a value; provenance and time are added."""
    named: tuple[tuple[Kind, str], ...] = (
        ("text", f"device! source! {text}"),
        ("count", count),
        ("size", size),
        ("number", number),
        ("positive", "latency_us!"),
    )
    return {
        word.rstrip("!"): Field(word.rstrip("!"), kind, word.endswith("!"))
        for kind, words in named
        for word in words.split()
    }


_ENGINE = "backend version kernel_source library"
_HEADS = "batch! num_heads! head_dim!"
_EXPERTS = "num_tokens! hidden! inter! topk! num_experts! moe_tp moe_ep"

TABLES: Mapping[str, Mapping[str, Field]] = {
    "gemm": _fields(
        text=f"{_ENGINE} dtype! split kernel model op",
        count="m! n! k! b tp",
        size="gx gy gz nkern",
        number="lat_min",
    ),
    "attention_prefill": _fields(
        text=f"{_ENGINE} dtype! kv_dtype", count=f"{_HEADS} s!", size="num_kv_heads! prefix window"
    ),
    "attention_decode": _fields(
        text=f"{_ENGINE} dtype! kv_dtype", count=f"{_HEADS} kv_len!", size="num_kv_heads! window"
    ),
    "attention_encoder": _fields(text=f"{_ENGINE} dtype!", count=f"{_HEADS} s!"),
    "mla": _fields(
        text=f"{_ENGINE} table! model dtype! kv_dtype gemm_type", count="num_heads! batch! isl! tp_size", size="step"
    ),
    "moe": _fields(text=f"{_ENGINE} table dtype! distribution moe_kernel", count=f"{_EXPERTS} num_slots"),
    "moe_alltoall": _fields(
        text=f"{_ENGINE} table comm_backend op_name! phase! dtype",
        count="ep_size node_num hidden! topk! num_experts! num_tokens!",
        size="sms",
    ),
    "linear_attention": _fields(
        text=f"{_ENGINE} table op_name phase! model_name",
        count="batch! seq_len! num_tokens d_model d_conv num_k_heads head_k_dim num_v_heads head_v_dim "
        "d_state nheads head_dim n_groups chunk_size",
    ),
    "collective": _fields(
        text=f"{_ENGINE} impl variant collective! dtype", count="num_gpus! message_elems message_bytes!"
    ),
    "collective_topology": _fields(text="dtype! op!", count="ngpu! size! devs_per_node!", number="lat_min"),
    "memory_bound": _fields(text="dtype! op! split kernel model", count="rows! cols!"),
    "conv": _fields(
        text="dtype! kernel",
        # the misspelt name is the one that the published measurements use
        count="B! Input_Channel! Output_Channel! Kernel_Szie! Input_Size! Stride",
        size="Padding",
    ),
    "power": _fields(
        text=f"{_ENGINE} op! dtype! kv_dtype table distribution moe_kernel",
        count="m n k batch s kv_len num_heads head_dim num_tokens hidden inter topk num_experts moe_tp "
        "moe_ep num_slots",
        size="num_kv_heads prefix window",
        number="power_w!",
    ),
}
"""Every table that an import can write, with its columns by name."""
