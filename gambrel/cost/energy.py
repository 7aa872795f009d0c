"""Energy of a kernel, and the clock that a power limit leaves it.

Legend: t seconds, s clock over the nominal clock, v(s) voltage over the nominal voltage, u slowdown of the clock
against the clock at which the engine's parameters were measured. Every number may be an array.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.engines import COLD, Residency, price
from gambrel.cost.kernel import (
    Array,
    Attention,
    Convolution,
    Gemm,
    GroupedGemm,
    Kernel,
    KernelCost,
    MemoryBound,
    Number,
    Transfer,
)
from gambrel.cost.roofline import crossed_levels, kernel_bytes, kernel_flops, level_bytes
from gambrel.cost.whatif import scale_clock
from gambrel.hardware.device import Device, Power

VOLTAGE_FLOOR = 0.4
"""`v(s) = floor + (1 - floor) s` where the profile does not say: 0.7 of the voltage at half the clock.

Source: assumed; the linear form is that of J. Guerreiro et al., "GPGPU Power Modeling for Multi-Domain
Voltage-Frequency Scaling", HPCA 2018, section 3, whose measured curves have such a slope above the lowest clocks.
"""

SLOWEST_CLOCK = 0.3
"""Least share of the nominal clock that the default power limit is taken to enforce."""

SLOWDOWNS = (1.0, 4.0 / 3.0, 2.0, 4.0)
"""Slowdowns of the clock at which a limited kernel is priced; a time is linear in the slowdown between them."""

HALVINGS = 24
"""Steps of the search for the slowdown that meets a power limit, before the secant: a relative error below 1e-6."""

TILE = 128.0
"""Edge of the tile of a matrix product, for the operands that its units fetch from the cache."""

STAND_INS = {
    "nvfp4": ("mxfp4", "fp8", "int8", "bf16"),
    "mxfp4": ("nvfp4", "fp8", "int8", "bf16"),
    "int4": ("int8", "fp8", "bf16"),
    "fp8": ("int8", "bf16"),
    "int8": ("fp8", "bf16"),
    "bf16": ("fp16",),
    "fp16": ("bf16",),
    "tf32": ("bf16",),
}
"""Formats whose energy per FLOP stands in for a missing one: the next wider, so that the answer errs upward."""


class OperatingPoint(NamedTuple):
    """A kernel at the clock that the power limits leave it.

    Attributes:
        seconds: Of one execution.
        bound: Index into BOUNDS.
        joules: Of one execution on one device, what it takes without work included.
    """

    seconds: Array
    bound: NDArray[np.int8]
    joules: Array


class Work(NamedTuple):
    """Joules of one execution above the standing power, at the nominal voltage.

    Attributes:
        core: FLOPs and bytes from the cache; falls with the square of the voltage.
        memory: Bytes of device memory and of the network, whose clocks are their own.
    """

    core: Number
    memory: Number


def energy_per_flop(device: Device, rate: str) -> Number:
    """Joules per FLOP of a format; a stand-in's where the profile does not say, 0 where it says none."""
    known = device.power.energy_per_flop_j
    return next((known[name] for name in (rate, *STAND_INS.get(rate, ())) if name in known), 0.0)


def standing_w(power: Power) -> Number:
    """Watts of a device whose clocks are up and that runs no kernel: `power.static`, else idle, else 0."""
    if power.static_w is not None:
        return power.static_w
    return power.idle_w if power.idle_w is not None else 0.0


def active_w(power: Power) -> Number:
    """Watts under a kernel before its FLOPs and bytes count: `power.active`, else standing power."""
    return power.active_w if power.active_w is not None else standing_w(power)


def kernel_joules(spent: Work, seconds: Number, power: Power) -> Number:
    """Energy of a kernel that takes `seconds` under the default limit: `min(active t + core + memory, tdp t)`."""
    return np.minimum(active_w(power) * seconds + spent.core + spent.memory, power.tdp_w * seconds)


def has_energy(device: Device) -> bool:
    """Whether the profile says enough for an energy: standing power, and energies of arithmetic or memory."""
    power = device.power
    stands = power.idle_w is not None or power.static_w is not None
    return stands and (power.energy_per_byte_j is not None or bool(power.energy_per_flop_j))


def work(kernel: Kernel, device: Device) -> Work:
    """Dynamic energy: `FLOPs e_flop + cache bytes e_cache`; `memory bytes e_memory + sum over links of bytes e_link`.

    Counts each operand of a matrix product once from memory and once a tile from the cache
    (`FLOPs/2 (a + b)/128`, at least each operand once); of a transfer, what a flat ring sends over each link. Does not
    count operands that are streamed again, padding of tiles, and the memory traffic of a transfer.

    Raises:
        PlanError: A transfer on a device without links.
    """
    power = device.power
    if isinstance(kernel, Transfer):
        levels = crossed_levels(kernel, device)
        return Work(0.0, sum((level_bytes(kernel, x) * _known(x.link.energy_per_byte_j) for x in levels), 0.0))
    moved = kernel_bytes(kernel)
    flops = kernel_flops(kernel)
    core = flops * energy_per_flop(device, "fp32" if isinstance(kernel, MemoryBound) else kernel.rate)
    if power.energy_per_cache_byte_j is not None:
        core = core + np.maximum(flops * _fetched_per_flop(kernel), moved) * power.energy_per_cache_byte_j
    return Work(core, moved * _known(power.energy_per_byte_j))


def _known(energy: Number | None) -> Number:
    return 0.0 if energy is None else energy


def _fetched_per_flop(kernel: Kernel) -> float:
    match kernel:
        case Gemm() | GroupedGemm() | Convolution():
            return (kernel.a_bytes + kernel.b_bytes) / (2.0 * TILE)
        case Attention():
            return kernel.kv_bytes / (2.0 * TILE)
        case _:
            return 0.0


def operate(kernel: Kernel, device: Device, residency: Residency = COLD) -> OperatingPoint:
    """Prices a kernel in time and energy under the power limits of its device.

    ```
    joules = min(active t + core + memory, tdp t)
    ```
    Without `power.cap` and `power.clock` the time is the engine's: its parameters were measured under the default
    limit (`power.tdp`) and hold whatever the clock fell to there. With one of them, see `_limited`.

    Does not count: the supply's losses, fans and hosts (`power.all_in`), leakage that grows with temperature.

    Source: static plus dynamic energy per operation and per byte and level: J. W. Choi, D. Bedard, R. Fowler,
    R. Vuduc, "A Roofline Model of Energy", IPDPS 2013, section II; energies are fitted, see
    docs/explanation/energy.md.

    Raises:
        PlanError: As `price`.
    """
    cost = price(kernel, device, residency)
    if device.power.cap_w is not None or device.power.clock_hz is not None:
        slower = [price(kernel, scale_clock(device, 1.0 / u), residency) for u in SLOWDOWNS[1:]]
        return _limited([cost, *slower], work(kernel, device), device)
    joules = kernel_joules(work(kernel, device), cost.seconds, device.power)
    return OperatingPoint(cost.seconds, cost.bound, np.asarray(joules, dtype=np.float64))


class _Curve(NamedTuple):
    """Power of one kernel over the slowdown of the clock.

    `P(u) = idle + memory/t(u) + v(s0/u)^2 (active - idle + core/t(u))`, t linear in u between the priced slowdowns.
    """

    idle: Number
    gated: Number
    core: Number
    memory: Number
    nominal: Number
    floor: Number
    times: tuple[Array, ...]

    def seconds(self, u: Number) -> Array:
        out = self.times[0]
        for low, high, before, after in zip(SLOWDOWNS, SLOWDOWNS[1:], self.times, self.times[1:], strict=False):
            out = out + (after - before) * (np.clip(u, low, high) - low) / (high - low)
        return out

    def gain(self, u: Number) -> Number:
        """Square of the voltage at a slowdown."""
        return np.square(self.floor + (1.0 - self.floor) * self.nominal / u)

    def watts(self, u: Number) -> Array:
        seconds = np.maximum(self.seconds(u), 1e-300)
        return self.idle + self.memory / seconds + self.gain(u) * (self.gated + self.core / seconds)


def _curve(costs: list[KernelCost], spent: Work, power: Power) -> _Curve:
    """The power curve through the default operating point, which takes at most `power.tdp`.

    Where the free-running power exceeds it, the clock had already fallen when the engine's parameters were measured:
    `v(s0)^2 = (tdp - idle - memory/t)/(active - idle + core/t)`. What even the slowest clock cannot explain is cut off.
    """
    floor = VOLTAGE_FLOOR if power.voltage_floor is None else power.voltage_floor
    idle = power.idle_w if power.idle_w is not None else 0.0
    gated = np.maximum(active_w(power) - idle, 0.0)
    least = np.square(floor + (1.0 - floor) * SLOWEST_CLOCK)
    seconds = costs[0].seconds
    core = np.minimum(spent.core, np.maximum((power.tdp_w - idle) / least - gated, 0.0) * seconds)
    room = np.maximum(power.tdp_w - idle - least * gated, 0.0) * seconds - least * core
    memory = np.clip(spent.memory, 0.0, np.maximum(room, 0.0))
    rates = np.maximum(gated * seconds + core, 1e-300)
    square = np.clip(((power.tdp_w - idle) * seconds - memory) / rates, least, 1.0)
    nominal = (np.sqrt(square) - floor) / (1.0 - floor)
    times = tuple(np.maximum.accumulate(np.stack(np.broadcast_arrays(*(cost.seconds for cost in costs)))))
    return _Curve(idle=idle, gated=gated, core=core, memory=memory, nominal=nominal, floor=floor, times=times)


def _limited(costs: list[KernelCost], spent: Work, device: Device) -> OperatingPoint:
    """The fastest clock at or below `power.clock` at which a kernel takes at most `power.cap`.

    Only the clock of the units falls: the engine prices the kernel at slower clocks, where arithmetic and cache stretch
    and device memory, links and launches do not. At `cap = tdp` the slowdown is 1 and so is the correction; a cap above
    it changes nothing. Where the slowest clock still takes too much, the device rests in between at idle:
    `t = (joules - idle t_slowest)/(cap - idle)`.
    """
    power = device.power
    curve = _curve(costs, spent, power)
    cap = power.tdp_w if power.cap_w is None else np.minimum(power.cap_w, power.tdp_w)
    share = 1.0 if power.clock_hz is None else np.minimum(power.clock_hz / device.clock_hz, 1.0)
    slowest = SLOWDOWNS[-1]
    low = np.clip(curve.nominal / share, 1.0, slowest)
    meets = curve.watts(low) <= cap * (1.0 + 1e-9)
    high = np.where(meets, low, slowest)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        enough = curve.watts(middle) <= cap
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    slower = np.where(meets, low, _crossing(curve, cap, low, high))
    running = curve.seconds(slower)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.maximum(curve.watts(slower) - curve.idle, 0.0) * running
        resting = np.where(above > 0.0, above / np.maximum(cap - curve.idle, 0.0), 0.0)
    seconds = np.where(meets, running, np.maximum(running, resting))
    joules = np.minimum(curve.idle * seconds + above, cap * seconds)
    bound = costs[0].bound
    for slowdown, cost in zip(SLOWDOWNS[1:], costs[1:], strict=True):
        bound = np.where(slower >= slowdown, cost.bound, bound)
    seconds, bound, joules = np.broadcast_arrays(seconds, bound, joules)
    return OperatingPoint(seconds, bound, joules)


def _crossing(curve: _Curve, cap: Number, low: Array, high: Array) -> Array:
    """The slowdown between two near ones at which the power, linear between them, meets the limit.

    A secant after the halvings: the answer also has the slope of the curve, which halves of a bracket do not have.
    """
    before, after = curve.watts(low), curve.watts(high)
    share = np.clip((before - cap) / np.maximum(before - after, 1e-300), 0.0, 1.0)
    return low + share * (high - low)
