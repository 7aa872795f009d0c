"""Sharding strategies: which mesh axes split each logical dim, and where the residual stream lives between blocks."""

from collections.abc import Mapping
from dataclasses import dataclass

from gambrel.ir.types import Axes

_TENSOR_PARALLEL: Mapping[str, Axes] = {
    **dict.fromkeys(("heads", "kv_heads", "ffn", "vocab"), ("tp",)),
    # recurrent layers: heads with a state each, and the groups of heads that share queries and keys
    **dict.fromkeys(("scan_heads", "scan_groups"), ("tp",)),
}
_DATA: Mapping[str, Axes] = {"batch": ("dp",), "seq": ("cp",), "cache": ("cp",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One structural way of splitting a model.

    Attributes:
        name: As written in a plan.
        summary: What it does, for people.
        rules: Mesh axes of each logical dim; dims that are not named stay whole.
        axes: Mesh axes that the strategy uses, pipeline stages apart.
        sequence_axes: Axes that also split the sequence of the residual stream between blocks (prefill only).
        select_axes: Axes over which tokens are replicated before the experts, so that each device keeps its share.
        decode_select_axes: Further ones in decode, where one new token is not split along the sequence.
        joint_axes: Axes over which some groups span together, so that their ranks have to follow each other.
        source: Where it comes from.
    """

    name: str
    summary: str
    rules: Mapping[str, Axes]
    axes: Axes
    sequence_axes: Axes = ()
    select_axes: Axes = ()
    decode_select_axes: Axes = ()
    joint_axes: Axes = ()
    source: str


STRATEGIES: Mapping[str, Strategy] = {
    item.name: item
    for item in (
        Strategy(
            name="megatron",
            summary="heads, feed-forward width, expert width and vocabulary over tp; all-reduce after each block",
            rules={**_DATA, **_TENSOR_PARALLEL, "expert_ffn": ("tp",)},
            axes=("dp", "cp", "tp"),
            source="Shoeybi et al., Megatron-LM, 2019, section 3",
        ),
        Strategy(
            name="sequence-parallel",
            summary="megatron with the sequence over tp between blocks: reduce-scatter and all-gather (prefill)",
            rules={**_DATA, **_TENSOR_PARALLEL, "expert_ffn": ("tp",)},
            axes=("dp", "cp", "tp"),
            sequence_axes=("tp",),
            source="Korthikanti et al., Reducing Activation Recomputation in Large Transformers, 2022, section 4.2",
        ),
        Strategy(
            name="moe-ep",
            summary="megatron for attention, whole experts over the devices of the tp group; no all-to-all",
            rules={**_DATA, **_TENSOR_PARALLEL, "experts": ("tp_ep",), "expert_ffn": ("tp_etp",)},
            axes=("dp", "cp", "tp", "tp_ep", "tp_etp"),
            select_axes=("tp_ep",),
            source="vLLM and SGLang expert parallelism inside a tensor-parallel group",
        ),
        Strategy(
            name="attention-dp",
            summary="attention data-parallel over dp, feed-forward width over dp x tp; tokens are gathered before",
            rules={**_DATA, **_TENSOR_PARALLEL, "ffn": ("tp", "dp"), "expert_ffn": ("tp",)},
            axes=("dp", "cp", "tp"),
            joint_axes=("tp", "dp"),
            source="SGLang, data parallelism attention (`--enable-dp-attention`), 2024: heads over fewer devices than "
            "the feed-forward width",
        ),
        Strategy(
            name="attention-dp-moe-ep",
            summary="attention data-parallel over dp, experts over all devices of dp x cp x tp by all-to-all",
            rules={**_DATA, **_TENSOR_PARALLEL, "experts": ("ep",)},
            axes=("dp", "cp", "tp", "ep", "edp"),
            select_axes=("tp",),
            decode_select_axes=("cp",),
            joint_axes=("tp", "cp", "dp"),
            source="DeepSeek-V3 technical report, 2024, section 3.4",
        ),
    )
}
"""All strategies by name."""
