"""What this machine says about its processor: name, cores, clock, caches and memory; no host names, no paths."""

import os
import platform
from pathlib import Path
from typing import NamedTuple

from gambrel.units import format_quantity

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNKNOWN_CLOCK_HZ = 2.5e9
"""Taken where the machine does not say; rates per clock are relative to it."""

BUSY = 0.4
"""Load of each core from which other work disturbs a measurement."""


class Cache(NamedTuple):
    """One level of cache: its size, and whether all cores share it."""

    level: int
    size_bytes: float
    shared: bool


class Host(NamedTuple):
    """The processor of this machine.

    Attributes:
        model: As it names itself.
        vendor: In lower case.
        cores: Logical processors that this process may use.
        clock_hz: As the system reports it.
        clock_known: Whether it does.
        caches: Inner to outer, data and unified ones.
        memory_bytes: Main memory; 0 where the system does not say.
    """

    model: str
    vendor: str
    cores: int
    clock_hz: float
    clock_known: bool
    caches: tuple[Cache, ...]
    memory_bytes: float


def this_host() -> Host:
    """The processor that this runs on."""
    facts = _cpuinfo(CPUINFO)
    model = facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine() or "processor"
    vendors = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "ARM": "arm"}
    clock = _number(facts.get("cpu MHz", "")) * 1e6
    return Host(
        model=" ".join(model.split()),
        vendor=vendors.get(facts.get("vendor_id", ""), "unknown"),
        cores=usable_cores(),
        clock_hz=clock or UNKNOWN_CLOCK_HZ,
        clock_known=clock > 0,
        caches=_caches(CACHES),
        memory_bytes=_memory(),
    )


def usable_cores() -> int:
    """Logical processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads_text(threads: int) -> str:
    """`1 thread`, `8 threads`."""
    return f"{threads} thread{'s' * (threads != 1)}"


def busy_remark(cores: int, threads: int) -> str:
    """What to know before measuring on a machine that others keep busy; empty where they do not."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return ""
    if load < BUSY * cores:
        return ""
    advice = "" if threads == 1 else "; several threads would wait for each other, --threads 1 is safer"
    return f"the machine is busy: a load of {load:.1f} on {cores} cores{advice}"


def describe(host: Host, threads: int, library: str) -> str:
    """One line on what is measured."""
    shown = ", ".join(f"L{c.level} {format_quantity(c.size_bytes, 'B')}" for c in host.caches)
    memory = format_quantity(host.memory_bytes, "B") if host.memory_bytes else "unknown memory"
    return f"{host.model}, {threads} of {host.cores} threads, {shown or 'unknown caches'}, {memory}; {library}"


def _cpuinfo(path: Path) -> dict[str, str]:
    """The facts of the first processor."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return facts


def _caches(folder: Path) -> tuple[Cache, ...]:
    found: list[Cache] = []
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size, users = (
                (index / name).read_text(encoding="utf-8").strip()
                for name in ("type", "level", "size", "shared_cpu_list")
            )
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            shared = "," in users or "-" in users
            found.append(Cache(int(level), float(size[:-1]) * 1024.0, shared))
    return tuple(found)


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
