"""What must hold between the numbers of a profile: names that refer to something, and physics."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import NamedTuple, cast

from gambrel.errors import did_you_mean
from gambrel.hardware.profile import MemoryLevel, Profile, Quantity, count_in_device
from gambrel.units import format_quantity

PEAK_TOLERANCE = 0.02
"""How far a quoted peak may lie from units x width x clock: vendors round both."""


class Finding(NamedTuple):
    """A rule that a profile breaks: the path of the field to look at, what, why and the fix."""

    path: tuple[str, ...]
    what: str
    why: str = ""
    fix: str = ""


def check(profile: Profile, *, physics: bool = True) -> list[Finding]:
    """Everything that does not hold.

    Args:
        profile: As read; a NaN stands for what is missing or broken, and breaks no rule.
        physics: Whether to compare peaks, clocks, levels and power with each other; a what-if may leave them behind,
            but not the order of the network, which says which level a collective crosses.
    """
    rules: tuple[Callable[[Profile], Iterator[Finding]], ...] = (_references, _positive, _usable, _link_order, _limits)
    if physics:
        rules += (_peaks, _sparsity, _memory_order, _host_order, _power)
    return [finding for rule in rules for finding in rule(profile)]


def quantities(record: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Quantity]]:
    """Every quantity of a profile (or of a part of it) with its path."""
    if isinstance(record, Quantity):
        yield path, record
    elif isinstance(record, Mapping):
        for key, value in cast("Mapping[str, object]", record).items():
            yield from quantities(value, (*path, key))
    elif is_dataclass(record):
        for item in fields(record):
            yield from quantities(getattr(record, item.name), (*path, item.name))


def _references(profile: Profile) -> Iterator[Finding]:
    if profile.abstract:
        return  # what a base refers to may come with the profile that extends it
    units = (*profile.units, "device")
    compute = profile.compute
    uses = [(("units", name, "per"), unit.per, units) for name, unit in profile.units.items()]
    uses += [(("memory", name, "scope"), level.scope, units) for name, level in profile.memory.items()]
    uses += [(("compute", "unit"), compute.unit, units), (("compute", "clock"), compute.clock, tuple(profile.clocks))]
    uses += [(("compute", "vector", "clock"), compute.vector.clock, tuple(profile.clocks))]
    for path, name, known in uses:
        if name and name not in known:
            section = "clocks" if path[-1] == "clock" else "units"
            yield Finding(path, f"{'.'.join(path)} is {name!r}, which `{section}` lacks", fix=did_you_mean(name, known))
    for name in profile.units:
        if not count_in_device(profile, name):
            yield Finding(("units", name, "per"), f"units.{name} is inside itself", "`per` must lead to `device`")
    devices = [name for name, level in profile.memory.items() if level.role == "device"]
    if len(devices) != 1:
        what = f"{len(devices)} memory levels have the role `device`"
        yield Finding(("memory",), what, "one memory holds the weights and the KV cache")
    if devices and profile.memory[devices[0]].bandwidth is None:
        yield Finding(("memory", devices[0]), f"memory.{devices[0]}.bandwidth is missing", "device memory needs one")
    if not profile.compute.matrix:
        yield Finding(("compute",), "compute.matrix has no number format", "nothing could be multiplied")


def _positive(profile: Profile) -> Iterator[Finding]:
    for path, quantity in quantities(profile):
        if path[0] == "parameters":
            if quantity.value < 0:
                yield Finding(path, f"{'.'.join(path)} = {quantity.text!r} is negative", "no parameter can be")
        elif quantity.value <= 0:
            yield Finding(path, f"{'.'.join(path)} = {quantity.text!r} is not positive", "", "Remove what is absent")


def _usable(profile: Profile) -> Iterator[Finding]:
    for name, level in profile.memory.items():
        if level.usable and level.usable.value > level.capacity.value:
            why = f"the level has {_show(level.capacity)}"
            yield Finding(("memory", name, "usable"), f"memory.{name}.usable is {_show(level.usable)}", why)


def _peaks(profile: Profile) -> Iterator[Finding]:
    compute = profile.compute
    peaks: list[tuple[tuple[str, ...], Quantity, Quantity | None, str]] = [
        (("compute", "matrix", name, "dense"), rate.dense, rate.per_clock, compute.clock)
        for name, rate in compute.matrix.items()
    ]
    vector = compute.vector
    peaks.append((("compute", "vector", "rate"), vector.rate, vector.per_clock, vector.clock or compute.clock))
    units = count_in_device(profile, compute.unit)
    for path, peak, per_clock, clock in peaks:
        if per_clock is None or clock not in profile.clocks:
            continue
        clock_hz = profile.clocks[clock].value
        expected = units * per_clock.value * clock_hz
        if abs(peak.value - expected) > PEAK_TOLERANCE * expected:
            product = (
                f"{units:g} {compute.unit} x {_show(per_clock)} x {format_quantity(clock_hz, 'Hz')}"
                f" = {format_quantity(expected, peak.dimension)}"
            )
            what = f"{'.'.join(path)} is {_show(peak)}"
            yield Finding(path, what, f"{product}, {(peak.value / expected - 1) * 100:+.1f} % apart")


def _sparsity(profile: Profile) -> Iterator[Finding]:
    for name, rate in profile.compute.matrix.items():
        if rate.sparse and rate.dense.value > rate.sparse.value:
            what = f"compute.matrix.{name}.dense is {_show(rate.dense)}, above sparse {_show(rate.sparse)}"
            yield Finding(("compute", "matrix", name, "dense"), what, "", "Swap them, or drop the sparse one")


def _memory_order(profile: Profile) -> Iterator[Finding]:
    def total(level: MemoryLevel) -> float:
        return level.capacity.value * count_in_device(profile, level.scope)

    for (inner, a), (outer, b) in pairwise(profile.memory.items()):
        # Scratchpads of all units together may hold more than the cache behind them, as on the V100 and CDNA 4.
        if total(b) < total(a) and (a.role, b.role) != ("scratchpad", "cache"):
            what = f"memory.{outer} holds {format_quantity(total(b), 'B')} in the device"
            why = f"capacity grows outward, and memory.{inner} inside it holds {format_quantity(total(a), 'B')}"
            yield Finding(("memory", outer, "capacity"), what, why, "Write the levels inner to outer")
    rated = [(name, level.bandwidth) for name, level in profile.memory.items() if level.bandwidth]
    for (inner, a), (outer, b) in pairwise(rated):
        if b.value > a.value:
            what = f"memory.{outer}.bandwidth is {_show(b)}"
            why = f"bandwidth falls outward, and memory.{inner} inside it has {_show(a)}"
            yield Finding(("memory", outer, "bandwidth"), what, why, "Bandwidth is that of all instances together")


def _host_order(profile: Profile) -> Iterator[Finding]:
    device = next((level for level in profile.memory.values() if level.role == "device"), None)
    tiers = [(f"host.{name}", tier.bandwidth) for name, tier in profile.host.items()]
    if device and device.bandwidth:
        tiers.insert(0, ("device memory", device.bandwidth))
    for (inner, a), (outer, b) in pairwise(tiers):
        if b.value > a.value:
            why = f"{inner} before it has {_show(a)}, and tiers stand nearest first"
            yield Finding((*outer.split("."), "bandwidth"), f"{outer}.bandwidth is {_show(b)}", why)


def _link_order(profile: Profile) -> Iterator[Finding]:
    for (inner, a), (outer, b) in pairwise(profile.links.items()):
        if b.size.value <= a.size.value:
            what = f"links.{outer}.size is {b.size.value:g}"
            why = f"domains grow outward, and links.{inner} inside it has {a.size.value:g} devices"
            yield Finding(("links", outer, "size"), what, why, "`size` counts the inner levels' devices too")
    for name, link in profile.links.items():
        if link.size.value < 2 or link.size.value % 1:
            what = f"links.{name}.size is {link.size.value:g}"
            yield Finding(("links", name, "size"), what, "a network joins a whole number of devices, at least 2")


def _power(profile: Profile) -> Iterator[Finding]:
    power = profile.power
    if power.idle and power.idle.value >= power.tdp.value:
        yield Finding(("power", "idle"), f"power.idle is {_show(power.idle)}", f"tdp is {_show(power.tdp)}")
    levels = [(name, level) for name in ("idle", "static", "active", "tdp") if (level := getattr(power, name))]
    for (lower, a), (higher, b) in pairwise(levels):
        if a.value > b.value and (lower, higher) != ("idle", "tdp"):
            yield Finding(("power", lower), f"power.{lower} is {_show(a)}", f"{higher} is {_show(b)}")
    if power.cap and power.cap.value > power.tdp.value:
        yield Finding(("power", "cap"), f"power.cap is {_show(power.cap)}", f"tdp is {_show(power.tdp)}")
    if power.all_in and power.all_in.value < power.tdp.value:
        why = f"it includes the device, whose tdp is {_show(power.tdp)}"
        yield Finding(("power", "all_in"), f"power.all_in is {_show(power.all_in)}", why)


def _limits(profile: Profile) -> Iterator[Finding]:
    power = profile.power
    if power.cap and power.idle and power.cap.value <= power.idle.value:
        why = f"the device takes {_show(power.idle)} with nothing running, so no clock is low enough"
        yield Finding(("power", "cap"), f"power.cap is {_show(power.cap)}", why)
    if power.voltage_floor and power.voltage_floor.value >= 1:
        why = "it is the share of the voltage that remains at the lowest clock"
        yield Finding(("power", "voltage_floor"), f"power.voltage_floor is {_show(power.voltage_floor)}", why)
    if (power.cap or power.clock) and not power.energy_per_flop:
        name = "cap" if power.cap else "clock"
        why = "without energies of arithmetic nobody knows which clock a limit leaves"
        yield Finding(("power", name), f"power.{name} without power.energy_per_flop", why, "Add energies per FLOP")


def _show(quantity: Quantity) -> str:
    return format_quantity(quantity.value, quantity.dimension)
