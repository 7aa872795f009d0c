"""A processor as a complete profile: what the system says, what was measured, and what was fitted."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gambrel.calibration.backends import Backend
from gambrel.calibration.calibrate import FittedFamily
from gambrel.calibration.host import Host, threads_text
from gambrel.calibration.write import parameter_lines, profile_id, quote, uncertainty_lines
from gambrel.units import format_quantity

SOURCE = "host"

WATTS_PER_CORE = 10.0
"""Assumed limit of a core in use: no sensor is read."""


class HostPeaks(NamedTuple):
    """The best rates that were measured: products in FLOP/s, memory and last-level cache in B/s."""

    flops_per_s: float
    memory_bytes_per_s: float
    cache_bytes_per_s: float


def host_profile(
    host: Host, backend: Backend, peaks: HostPeaks, out: Path, date: str, families: Sequence[FittedFamily] = ()
) -> str:
    """The text of the profile of a processor.

    Args:
        host: The processor.
        backend: What was measured.
        peaks: Measured rates.
        out: Where the profile goes: its name is the file's.
        date: Of the measurement.
        families: Fitted parameters.
    """
    title = f"{host.model}, {threads_text(backend.threads)}, {backend.name}"
    known = "" if host.clock_known else ", kind: assumed, note: the system does not say"
    lines = [
        "# Measured by `gambrel calibrate --this-host`.",
        "schema: 1",
        f"id: {profile_id(out)}",
        f"title: {quote(title)}",
        f"vendor: {host.vendor}",
        "kind: cpu",
        "generation: host",
        "engine: cpu",
        f"year: {date[:4]}",
        f"default_source: {SOURCE}",
        "",
        "clocks:",
        f"  core: {{value: {format_quantity(host.clock_hz, 'Hz')}, source: {SOURCE}{known}}}",
        "",
        "units:",
        f"  core: {{count: {backend.threads}}}",
        "",
        *_compute(peaks),
        "",
        *_memory(host, peaks),
        "",
        "power:",
        f"  tdp: {{value: {WATTS_PER_CORE * backend.threads:g} W, source: {SOURCE}, kind: assumed,"
        f" note: {WATTS_PER_CORE:g} W for each core in use; no sensor is read}}",
        "",
        *parameter_lines(families, lambda _: SOURCE),
        *(["", *uncertainty_lines(families, lambda _: SOURCE)] if families else []),
        "",
        "sources:",
        f"  {SOURCE}: {{kind: measured, ref: {quote(f'{title}, measured by gambrel calibrate --this-host')},"
        f" date: {quote(date)}}}",
        "",
    ]
    return "\n".join(lines)


def _compute(peaks: HostPeaks) -> list[str]:
    note = "the best measured product or convolution"
    rate = f"value: {format_quantity(peaks.flops_per_s, 'FLOP/s')}, source: {SOURCE}, note: {note}"
    return [
        "compute:",
        "  unit: core",
        "  clock: core",
        f"  matrix:  # other formats are widened\n    fp32: {{dense: {{{rate}}}}}",
        f"  vector: {{rate: {{{rate}}}}}",
    ]


def _memory(host: Host, peaks: HostPeaks) -> list[str]:
    lines = ["memory:"]
    for number, cache in enumerate(host.caches, start=1):
        last = number == len(host.caches)
        scope = "device" if last else "core"  # the last one counts once, whether shared or of a single core
        rate = f", bandwidth: {format_quantity(peaks.cache_bytes_per_s, 'B/s')}" if last else ""
        size = f"{cache.size_bytes / 1024:g} KiB"
        lines.append(f"  l{cache.level}: {{role: cache, scope: {scope}, capacity: {size}{rate}}}")
    bandwidth = format_quantity(peaks.memory_bytes_per_s, "B/s")
    size = f"{host.memory_bytes / 2**30:.6g} GiB" if host.memory_bytes else "8 GiB"
    known = "" if host.memory_bytes else ", kind: assumed, note: the system does not say"
    return [
        *lines,
        "  dram:",
        "    role: device",
        f"    capacity: {{value: {size}, source: {SOURCE}{known}}}",
        f"    bandwidth: {{value: {bandwidth}, source: {SOURCE}, note: the best stream or product that was measured}}",
    ]
