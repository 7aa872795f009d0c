"""`gambrel calibrate --this-host`: measures this machine on designed shapes and describes it as a profile."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gambrel.calibration import design
from gambrel.calibration.backends import Backend, BackendName, open_backend
from gambrel.calibration.calibrate import LEAST_POINTS, Calibration, Report, calibrate
from gambrel.calibration.host import Host, busy_remark, describe, this_host, threads_text
from gambrel.calibration.host_profile import HostPeaks, host_profile
from gambrel.calibration.measurements import Measurements, measurements
from gambrel.calibration.stopwatch import Call, check_clock
from gambrel.calibration.tables import operation_named
from gambrel.calibration.write import calibrated_profile, write_profile
from gambrel.errors import Problem, ProfileError, UsageError
from gambrel.hardware.load import list_profiles, load_device, load_profile

MEASURING = 0.75
"""Share of the time that measuring may take; the rest is for the fits."""

LARGEST = 0.05
"""A shape whose calls would take more than this share of the time is left out."""

GRACE_S = 8.0
"""Time beyond the one that was given, for families that lack the rows of a fit."""

Row = dict[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a machine is measured.

    Attributes:
        seconds: Time for all of it, about.
        backend: Whose kernels.
        threads: 0 for all cores.
        seed: Of the fits.
    """

    seconds: float = 300.0
    backend: BackendName = "auto"
    threads: int = 0
    seed: int = 0


class _Job(NamedTuple):
    """A shape to measure: the table and its row, what it computes and moves, and how its call is made.

    `kind` tells shapes of one table apart that different families of parameters are fitted on.
    """

    table: str
    kind: str
    row: Row
    flops: float
    moved_bytes: float
    make: Callable[[], Call]


def calibrate_host(settings: Settings, out: Path, report: Report) -> tuple[Calibration, str]:
    """Measures this machine.

    A GPU that a shipped profile describes gets a profile that extends it; a processor gets a complete one.

    Args:
        settings: How.
        out: Where the profile will be written; it is named as that file.
        report: Gets progress.

    Returns:
        What was fitted, and the text of the profile.

    Raises:
        UsageError: The backend is not there, the clock is too coarse, or the time is too short to measure enough.
    """
    check_clock()
    backend = open_backend(settings.backend, settings.threads)
    host, today = this_host(), datetime.now(UTC).date().isoformat()
    report(f"measuring {backend.gpu or describe(host, backend.threads, backend.name)}")
    busy = busy_remark(host.cores, backend.threads)
    if busy:
        report(busy)
    origin = f"{backend.gpu or host.model}, {threads_text(backend.threads)}, {backend.name}"
    if backend.gpu:
        base = shipped_gpu(backend.gpu)
        found = calibrate(
            load_device(base), _tables(backend, settings, origin, report), seed=settings.seed, report=report
        )
        return found, calibrated_profile(base, load_profile(base).title, found.families, out, today)
    parts, peaks = measure_host(backend, host, settings, origin, report)
    bare = host_profile(host, backend, peaks, out, today)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "this-host.yaml"
        write_profile(bare, draft, force=False)
        device = load_device(draft)
    found = calibrate(device, parts, seed=settings.seed, report=report)
    return found, host_profile(host, backend, peaks, out, today, found.families)


def measure_host(
    backend: Backend, host: Host, settings: Settings, origin: str, report: Report
) -> tuple[list[Measurements], HostPeaks]:
    """Tables of all designed shapes, and the best rates that were seen."""
    last = max((cache.size_bytes for cache in host.caches), default=8e6)
    share = 0.02 * settings.seconds
    quick = settings.seconds < 20.0
    memory = _bandwidth(backend, (2.0 if quick else 8.0) * min(last, 1e8), share)
    cache = max(_bandwidth(backend, 0.4 * last, share), memory)
    side = 256 if quick else 1024
    square = backend.product(design.Product(side, side, side))
    peak = 2.0 * side**3 / backend.seconds(square, share)
    parts = _tables(backend, settings, origin, report, peak=peak)
    reads = [x.rows for x in parts if x.operation.name == "gemm"]
    for rows in reads:
        n = rows.numbers
        seconds, flops = n["latency_us"] * 1e-6, 2.0 * n["m"] * n["n"] * n["k"] * n["b"]
        peak = max(peak, float(np.max(flops / seconds)))
        cold = (n["b"] == 1) & (4.0 * n["n"] * n["k"] * 64 > 2.0 * last)
        if cold.any():
            memory = max(memory, float(np.max((4.0 * n["n"] * n["k"] / seconds)[cold])))
    return parts, HostPeaks(peak, memory, max(cache, memory))


def shipped_gpu(name: str) -> str:
    """The shipped profile of a GPU as its driver names it: its name or alias, or the one title with all of its words.

    Raises:
        UsageError: There is none, or there are several.
    """
    try:
        return load_profile(name).id
    except ProfileError:
        words = set(re.findall(r"[a-z0-9]+", name.lower()))
    titles = {
        profile: set(re.findall(r"[a-z0-9]+", load_profile(profile).title.lower())) for profile in list_profiles()
    }
    found = [profile for profile, title in titles.items() if words <= title]
    if len(found) == 1:
        return found[0]
    fix = "Write a profile of it, and give measurements: --device PROFILE.yaml --from DIR"
    why = f"its name fits {', '.join(found)}" if found else ""
    raise UsageError(Problem(where=name, what="no shipped profile describes this GPU alone", why=why, fix=fix))


def _bandwidth(backend: Backend, total_bytes: float, budget_s: float) -> float:
    """Bytes per second of reading two arrays and writing a third; the three hold `total_bytes`."""
    elements = max(int(total_bytes / 12.0), 1024)
    return 12.0 * elements / backend.seconds(backend.triad(elements), budget_s)


def _tables(
    backend: Backend, settings: Settings, origin: str, report: Report, *, peak: float = 1e13
) -> list[Measurements]:
    """Measures every designed shape that fits the time, as tables of operations."""
    every: list[_Job] = [job for job in _jobs(backend) if backend.lacks.isdisjoint((job.table, *job.row.values()))]
    # In an order that mixes all families, so that running out of time thins each of them.
    jobs: list[_Job] = [every[i] for i in np.random.default_rng(0).permutation(len(every)).tolist()]
    budget = MEASURING * settings.seconds / len(jobs)
    end = time.perf_counter() + MEASURING * settings.seconds
    tables: dict[str, list[Row]] = {}
    counts = Counter[tuple[str, str]]()
    dropped = 0
    for number, job in enumerate(jobs):
        expected = 4.0 * (3.0 * job.flops / peak + job.moved_bytes / 5e9)
        late = time.perf_counter() - end
        enough = counts[job.table, job.kind] > LEAST_POINTS or late > max(0.1 * settings.seconds, GRACE_S)
        if expected > max(LARGEST * settings.seconds, 2.0 * budget) or (late > 0.0 and enough):
            dropped += 1
            continue
        seconds = backend.seconds(job.make(), 0.7 * budget)
        counts[job.table, job.kind] += 1
        tables.setdefault(job.table, []).append(job.row | {"latency_us": seconds * 1e6})
        if number % 40 == 39:
            report(f"measured {number + 1} of {len(jobs)} shapes")
    if dropped:
        report(f"left out {dropped} of {len(jobs)} shapes: they do not fit the time")
    if not tables:
        raise UsageError(Problem(where="--minutes", what="too short to measure anything", fix="Give more time"))
    return [measurements(_columns(rows), operation_named(name), origin) for name, rows in tables.items()]


def _columns(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name) for row in rows]) for name in names}


def _jobs(backend: Backend) -> Iterable[_Job]:
    kind: Row = {"dtype": backend.dtype}
    for shape in design.products():
        row: Row = kind | {"m": shape.m, "n": shape.n, "k": shape.k, "b": shape.b, "library": ""}
        yield _Job(
            "gemm",
            "batched" if shape.b > 1 else "",
            row,
            _flops(shape),
            _moved(shape),
            lambda s=shape: backend.product(s),
        )
    for image in design.convolutions():
        yield _convolution_job(backend, image, kind)
    for stream in design.streams():
        row = kind | {"op": stream.op, "rows": stream.rows, "cols": stream.cols}
        moved = 12.0 * stream.rows * stream.cols
        yield _Job("memory_bound", stream.op, row, 0.0, moved, lambda s=stream: backend.stream(s))
    for x in design.attentions():
        yield _attention_job(backend, x, kind)


def _convolution_job(backend: Backend, x: design.Convolution, kind: Row) -> _Job:
    sizes: Row = {"B": x.images, "Input_Channel": x.channels_in, "Output_Channel": x.channels_out, "Input_Size": x.size}
    row = kind | sizes | {"Kernel_Size": x.filter, "Stride": x.stride, "Padding": x.filter // 2}
    results = x.images * x.channels_out * (x.size // x.stride) ** 2
    flops = 2.0 * results * x.channels_in * x.filter**2
    return _Job(
        "conv",
        "pointwise" if x.filter == x.stride == 1 else "",
        row,
        flops,
        4.0 * results,
        lambda: backend.convolution(x),
    )


def _attention_job(backend: Backend, x: design.Attention, kind: Row) -> _Job:
    flops = 4.0 * x.batch * x.heads * x.q * x.kv * x.head_dim
    heads: Row = kind | {"batch": x.batch, "num_heads": x.heads, "head_dim": x.head_dim}
    moved = 8.0 * x.batch * x.kv_heads * x.kv * x.head_dim
    if x.q == 1:
        table, row = "attention_decode", heads | {"num_kv_heads": x.kv_heads, "kv_len": x.kv}
    elif x.causal:
        table, row = "attention_prefill", heads | {"num_kv_heads": x.kv_heads, "s": x.q}
    else:
        table, row = "attention_encoder", heads | {"s": x.q}
    return _Job(table, "shared" if x.kv_heads < x.heads else "", row, flops, moved, lambda: backend.attention(x))


def _flops(x: design.Product) -> float:
    return 2.0 * x.b * x.m * x.n * x.k


def _moved(x: design.Product) -> float:
    return 4.0 * x.b * (x.m * x.k + x.k * x.n + x.m * x.n)
