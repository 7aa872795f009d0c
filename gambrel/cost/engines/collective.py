"""Collectives over a hierarchy of links: start-up plus bytes over bandwidth, the best algorithm at each level.

Legend: n members at a level, S message bytes, B the link's bandwidth (one direction, per device).
"""

from dataclasses import fields, replace

import numpy as np

from gambrel.cost.engines import lookup, parameters
from gambrel.cost.engines.collective_defaults import collective_default, known_of_library
from gambrel.cost.engines.parts import Parts, memory_seconds
from gambrel.cost.kernel import Number, Transfer
from gambrel.cost.roofline import Level, crossed_levels, in_network_bytes, level_bytes
from gambrel.hardware.device import Device

IN_NETWORK_MEMBERS = 4.0
"""Fewest members from which libraries reduce in the switch."""


START_UPS = tuple(field.name for field in fields(parameters.Collective) if field.name.endswith(("_launch", "_hop")))
"""Parameters that are parts of a start-up."""


def collective(kernel: Transfer, device: Device) -> Parts:
    """Prices a collective as the sum over the levels that its group crosses.

    At each level, with the bytes V that a ring would send (`level_bytes`), the least of
    ```
    low latency:  a1 + l1 (n-1) + V/(e1 B)
    one shot:     a0 + l1 (n-1) + (n-1) S/inner/(e1 B)              all_reduce
    ring:         a2 + l2 (n-1) + R(V + c S/inner, e2 B)
    tree:         a2 + 2 l2 ceil(log2 n) + R((2 + c) S/inner, e2 B)   all_reduce on a fat tree
    in network:   a2 + 2 l2 + R((n+1)/n S/inner, e3 B)                all_reduce, n >= 4, switch that reduces
    ```
    `R(x, b) = x/b + ramp x/(x + b ramp)`: these algorithms move a message in chunks over many channels, and a short one
    fills neither.

    c is the share of the message that the kernel copies on the device itself, at the rate of its channels; a permute
    copies nothing. Where the caller says on how many units the kernel runs, its bandwidth is at most that many times
    `unit_bytes_per_s`. A permute has one hop: a1 + l1 + S/(e B). A call that the host issues takes `issue_floor` at
    least.

    Devices may share ports: B falls by sharers^sharing, the devices of the group below one member (those of a node, on
    a link between nodes), on a bus times half of the members, as cards on PCIe share host bridges.

    Does not count: contention between groups, oversubscription, skew between members, copies into registered buffers.

    Source: R. Hockney, "The communication challenge for MPP", Parallel Computing 20(3), 1994 (start-up plus bytes over
    bandwidth); R. Thakur et al., "Optimization of Collective Communication Operations in MPICH", 2005 (ring,
    hierarchy); P. Sanders, J. Speck, J. L. Traff, "Two-tree algorithms for full bandwidth broadcast, reduction and
    scan", Parallel Computing 35(12), 2009 (tree); parameters are fitted, see docs/explanation/cost-model.md.

    Raises:
        PlanError: The group has several devices and the profile has no link.
    """
    seconds: Number = 0.0
    network: Number = 0.0
    for level in crossed_levels(kernel, device):
        total, wire = _level_seconds(kernel, level, device)
        active = np.asarray(level.members) > 1.0
        seconds = seconds + np.where(active, total, 0.0)
        network = network + np.where(active, wire, 0.0)
    return Parts(seconds, network=network, latency=np.maximum(seconds - network, 0.0))


def _level_seconds(kernel: Transfer, level: Level, device: Device) -> tuple[Number, Number]:
    """Seconds of the best algorithm at one level, and the part of them that bytes take."""
    members, share = level.members, level.link.start_up_share
    link = replace(level.link, latency_s=level.link.latency_s / share)
    known = known_of_library(link, kernel.op, kernel.library)
    default = collective_default(link, kernel.op)
    p = lookup.resolve(default, device, f"collective_{link.name}", kernel.op, kernel.library, known)
    p = replace(p, **{name: getattr(p, name) * share for name in START_UPS})
    sharers = level.inner * (np.maximum(members, 2.0) / 2.0 if link.topology == "bus" else 1.0)
    bandwidth = link.bandwidth_bytes_per_s / np.power(sharers, p.sharing)
    sent = level_bytes(kernel, level)
    hops = 1.0 if kernel.op == "permute" else members - 1.0

    units = np.asarray(kernel.units)
    reach = np.where(units > 0, units * p.unit_bytes_per_s, np.inf)
    wire = sent / np.minimum(p.low_latency_efficiency * bandwidth, reach)
    best = p.low_latency_launch + p.low_latency_hop * hops + wire
    local = 0.0 if kernel.op == "permute" else p.local_passes * kernel.message_bytes / level.inner
    ring_wire = _ramped(sent + local, np.minimum(p.ring_efficiency * bandwidth, reach), p.ramp)
    options = [(p.ring_launch + p.ring_hop * hops + ring_wire, ring_wire)]
    if kernel.op == "all_reduce":
        read = (members - 1.0) * kernel.message_bytes / level.inner / (p.low_latency_efficiency * bandwidth)
        options.append((p.one_shot_launch + p.low_latency_hop * hops + read, read))
    if kernel.op == "all_reduce" and link.topology == "fat-tree":
        tree_wire = _ramped(2.0 * kernel.message_bytes / level.inner + local, p.ring_efficiency * bandwidth, p.ramp)
        depth = np.ceil(np.log2(np.maximum(members, 1.0)))
        options.append((p.ring_launch + 2.0 * p.ring_hop * depth + tree_wire, tree_wire))
    if kernel.op == "all_reduce" and link.in_network_reduction:
        switch_wire = _ramped(in_network_bytes(kernel, level), p.in_network_efficiency * bandwidth, p.ramp)
        switch = p.ring_launch + 2.0 * p.ring_hop + switch_wire
        options.append((np.where(np.asarray(members) >= IN_NETWORK_MEMBERS, switch, np.inf), switch_wire))
    for seconds, candidate in options:
        wire = np.where(seconds < best, candidate, wire)
        best = np.minimum(best, seconds)
    return np.maximum(best, p.issue_floor), wire


def _ramped(sent: Number, bytes_per_s: Number, ramp: Number) -> Number:
    """Seconds of bytes on the wire, which short messages do not fill, as they do not fill a memory's pipeline."""
    return memory_seconds(sent, 0.0, bytes_per_s, ramp, bytes_per_s)
