"""What collectives take on a link that nothing was measured of: by operation, library and the link's topology.

Source of the numbers: near the geometric mean of the fits on A100, H200 and B200 SXM (NVLink 3 to 5 through a switch),
of the bus near those on L40S and on pairs of A100 and H100 cards (PCIe 4.0 and 5.0), each on half of the message sizes
of aiconfigurator 0.12.0 and Vidur; see docs/explanation/cost-model.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gambrel.cost.engines.parameters import Collective
from gambrel.hardware.device import Link, Number

GATHER = {
    "low_latency_launch": 6.6e-6,
    "low_latency_efficiency": 0.2,
    "ring_launch": 17e-6,
    "ring_efficiency": 0.97,
    "local_passes": 0.42,
    "ramp": 10e-6,
}
EXCHANGE = {
    "low_latency_launch": 8.7e-6,
    "low_latency_efficiency": 0.075,
    "ring_launch": 14.4e-6,
    "ring_efficiency": 0.92,
    "local_passes": 0.35,
    "ramp": 4e-6,
}
REDUCE = {
    "low_latency_launch": 7.0e-6,
    "low_latency_efficiency": 0.42,
    "ring_launch": 10.6e-6,
    "ring_efficiency": 0.765,
    "in_network_efficiency": 0.42,
    "one_shot_launch": 4.5e-6,
    "local_passes": 0.25,
    "ramp": 6e-6,
}
NCCL_REDUCE = {
    "low_latency_launch": 6.5e-6,
    "low_latency_efficiency": 0.2,
    "ring_launch": 20.8e-6,
    "ring_efficiency": 0.87,
    "in_network_efficiency": 0.35,
    "one_shot_launch": 7.0e-6,
    "local_passes": 0.33,
    "ramp": 8e-6,
}
EAGER_REDUCE = {**REDUCE, "low_latency_efficiency": 0.3, "issue_floor": 28e-6}
SEND = {"low_latency_launch": 8.0e-6, "ring_launch": 8.0e-6, "ring_efficiency": 0.85}

EXPERTS = {
    "sglang_deepep_normal-dispatch": 27e-6,
    "sglang_deepep_normal-combine": 36e-6,
    "sglang_deepep_ll-dispatch": 12e-6,
    "sglang_deepep_ll-combine": 11e-6,
    "deepep_ht-dispatch": 160e-6,
    "deepep_ht-combine": 57e-6,
    "deepep_ll-dispatch": 42e-6,
    "deepep_ll-combine": 50e-6,
    "trtllm_deepep_ht-dispatch": 66e-6,
    "trtllm_deepep_ht-combine": 55e-6,
    "trtllm_deepep_ll-dispatch": 59e-6,
    "trtllm_deepep_ll-combine": 36e-6,
}
"""Start-ups of the protocols of the exchange between experts, their routing and waiting included; H200 and B200."""

KERNELS = {"ring_efficiency": 0.9, "ramp": 0.0}
"""What the exchange's own kernels have beside them: they are on all their channels from the first token on."""

BY_OPERATION: Mapping[str, Mapping[str, float]] = {
    "all_gather": GATHER,
    "reduce_scatter": GATHER,
    "all_to_all": EXCHANGE,
    "all_reduce": REDUCE,
    "all_reduce@nccl": NCCL_REDUCE,
    "all_reduce@vllm_eager": EAGER_REDUCE,
    "all_reduce@sglang_eager": EAGER_REDUCE,
    "permute": SEND,
    **{
        f"all_to_all@{protocol}": {**EXCHANGE, "low_latency_launch": 0.6 * launch, "ring_launch": launch, **KERNELS}
        for protocol, launch in EXPERTS.items()
    },
}
"""Start-ups and shares of the bandwidth; all_reduce is that of serving engines inside a captured graph."""

HOPS: Mapping[str, tuple[float, float]] = {
    "all_gather": (1.1, 0.25),
    "reduce_scatter": (1.1, 0.25),
    "all_to_all": (0.4, 0.45),
    "all_reduce": (0.16, 0.5),
    "all_reduce@nccl": (2.1, 0.8),
}
"""Time of a hop of the low-latency algorithm and of the ring, as shares of the link's latency; 1 for others."""

BUS: Mapping[str, float] = {
    "low_latency_hop": 0.9e-6,
    "low_latency_efficiency": 0.45,
    "ring_hop": 5e-6,
    "ring_efficiency": 0.72,
    "local_passes": 0.12,
    "sharing": 1.6,
    "ramp": 0.0,
}
"""What differs where devices share host bridges, whose bandwidth a few chunks fill."""

OUTSIDE = {"ramp": 0.0}
"""What differs on links between nodes, whose bandwidth a few chunks fill."""


def collective_default(link: Link, op: str) -> Collective:
    """The parameters of a collective over a link whose profile gives none, of no library in particular."""
    return replace(Collective(), **_values(link, op))


def known_of_library(link: Link, op: str, library: str) -> Mapping[str, Number]:
    """What is known of a library's collectives on every device; nothing where they are as those of serving engines."""
    key = f"{op}@{library}"
    return _values(link, key) if key in BY_OPERATION else {}


def known_of_libraries(links: Iterable[Link]) -> dict[str, Mapping[str, Number]]:
    """The same of all libraries over some links, by family as in a profile: `collective_nvlink_all_reduce@nccl`."""
    return {f"collective_{link.name}_{key}": _values(link, key) for link in links for key in BY_OPERATION if "@" in key}


def _values(link: Link, key: str) -> dict[str, Number]:
    low, ring = HOPS.get(key, HOPS.get(key.partition("@")[0], (1.0, 1.0)))
    hops = {"low_latency_hop": low * link.latency_s, "ring_hop": ring * link.latency_s}
    outer = {"bus": BUS, "fat-tree": OUTSIDE}
    return {**hops, **BY_OPERATION.get(key, {}), **outer.get(link.topology, {})}
