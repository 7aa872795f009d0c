"""Scores the energy model against measured power, and fits its numbers.

Usage: python -m benchmarks.accuracy.energy [--data DIR] [--format table|json|markdown] [--fit] [--write]

`--fit` prints the numbers of power sections, fitted on half of the shape sites and of the series; the other half is
scored. A mean power is scored at the measured time, so that an error of the time does not hide one of the power.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from benchmarks.accuracy.end_to_end import RESULTS
from benchmarks.accuracy.end_to_end import data_file as end_to_end_file
from benchmarks.accuracy.energy_samples import Sample, end_to_end, kernels, predict
from gambrel.cost.kernel import Array
from gambrel.hardware.device import Power
from gambrel.hardware.load import load_device

BEGIN, END = "<!-- energy: generated -->", "<!-- energy: end -->"

SETTLED = 8
"""Fewest readings of the power meter that a kernel's mean is scored on: 0.1 s apart, each the mean of 1 s."""

READING_S, WINDOW_S = 0.1, 1.0

RESTED_W = 245.0
"""What the meter shows of a B200 that has just rested with its clocks up: the least readings of the table."""

UNREAL = "generation_attention"
"""Not fitted: the loop's cache holds no data. It draws half of what streams of weights and served models draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of the mean power, in percent.

    Attributes:
        mape, median, bias: Against the reading as published.
        settled_mape: The same where a reading that began after a rest is allowed for; None end to end.
        limit_mape: Of the power limit taken as the answer.
    """

    source: str
    name: str
    device: str
    rows: int
    held_out: int
    mape: float
    median: float
    bias: float
    settled_mape: float | None
    limit_mape: float


def samples(folder: Path, file: Path) -> list[Sample]:
    """All measurements with enough readings."""
    measured = [sample.take(sample.readings >= SETTLED) for sample in kernels(folder)]
    return [*measured, *end_to_end(file)]


def weight(readings: Array) -> Array:
    """Share of the mean reading that is of the run: the meter shows the mean of the last second.

    Readings at 0, 0.1, ... s after the start hold `min(time, 1 s)/1 s` of the run; the rest is what went before.

    Source: NVIDIA, NVML reference, nvmlDeviceGetPowerUsage (mean of one second), with the 100 ms at which the
    collector of aiconfigurator reads it.
    """
    times = READING_S * np.arange(np.nanmax(readings))
    share = np.minimum(times / WINDOW_S, 1.0)
    counted = np.cumsum(share) / np.arange(1, len(share) + 1)
    return counted[readings.astype(int) - 1]


def log_error(sample: Sample, power: Power, *, history: bool) -> Array:
    """ln of estimate over measurement; with `history` the nearer of a run after a rest and after its like."""
    ours = predict(sample, power)
    plain = np.log(ours / sample.watts)
    if not history or sample.source != "kernels" or not len(ours):
        return plain
    share = weight(sample.readings)
    rested = np.log((RESTED_W + (ours - RESTED_W) * share) / sample.watts)
    return np.where(np.abs(rested) < np.abs(plain), rested, plain)


def score(sample: Sample, power: Power) -> Score:
    """Errors on the held-out rows."""
    kept = sample.take(sample.held_out)
    plain = log_error(kept, power, history=False)
    settled = log_error(kept, power, history=True) if sample.source == "kernels" else None
    errors = 100.0 * np.abs(np.expm1(plain))
    limit = float(np.asarray(power.tdp_w))
    return Score(
        source=sample.source,
        name=sample.name,
        device=sample.profile,
        rows=len(sample.watts),
        held_out=len(kept.watts),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        bias=float(100.0 * np.expm1(plain.mean())),
        settled_mape=None if settled is None else float(100.0 * np.abs(np.expm1(settled)).mean()),
        limit_mape=float(100.0 * np.abs(limit / kept.watts - 1.0).mean()),
    )


FITTED = ("static", "active", "memory", "bf16", "fp8", "nvfp4")
SPREAD = np.array([0.15, 0.3, 0.3, 0.4, 0.4, 0.4])
"""Standard deviations of the logarithms around the start."""


def fit(found: Sequence[Sample], limit: float) -> dict[str, float]:
    """Maximum a posteriori numbers of one device: soft-L1 of the logarithmic error over 0.1, log-normal priors.

    Kernels and served models weigh as much as a hundred rows each. The priors: a fifth of the limit static, 0.36 of it
    active, 80 pJ/B, 0.8, 0.5 and 0.25 pJ/FLOP.
    """
    start = np.log([0.2 * limit, 0.36 * limit, 80e-12, 0.8e-12, 0.5e-12, 0.25e-12])
    train = [sample.take(~sample.held_out) for sample in found if not sample.name.startswith(UNREAL)]
    counts = {kind: sum(len(x.watts) for x in train if (x.source == "kernels") == kind) for kind in (True, False)}

    def residuals(logs: Array) -> Array:
        power = _power(dict(zip(FITTED, np.exp(logs).tolist(), strict=True)), limit)
        parts = [
            np.sqrt(100.0 / counts[x.source == "kernels"]) * _soft(log_error(x, power, history=True) / 0.1)
            for x in train
        ]
        return np.concatenate([*parts, (logs - start) / SPREAD])

    result = least_squares(residuals, start)
    return dict(zip(FITTED, np.exp(result.x).tolist(), strict=True))


def _soft(errors: Array) -> Array:
    return np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))


def _power(numbers: dict[str, float], limit: float) -> Power:
    return Power(
        tdp_w=limit,
        static_w=numbers["static"],
        active_w=max(numbers["active"], numbers["static"]),
        energy_per_byte_j=numbers["memory"],
        energy_per_flop_j={name: numbers[name] for name in ("bf16", "fp8", "nvfp4")},
    )


def fits(found: Sequence[Sample]) -> Iterator[str]:
    """The fitted numbers of each device that has rows to fit on."""
    for profile in dict.fromkeys(sample.profile for sample in found):
        own = [sample for sample in found if sample.profile == profile]
        if not any((~sample.held_out).any() for sample in own):
            yield f"{profile}: nothing to fit on, all series are held out"
            continue
        limit = float(np.asarray(load_device(profile).power.tdp_w))
        numbers = fit(own, limit)
        text = ", ".join(
            f"{name} {value:.0f} W" if name in ("static", "active") else f"{name} {1e12 * value:.3g} pJ"
            for name, value in numbers.items()
        )
        rows = sum(int((~sample.held_out).sum()) for sample in own)
        yield f"{profile}: {text} on {rows} rows"


HEADER = ("source", "what", "device", "rows scored", "MAPE", "median", "bias", "history allowed for", "limit MAPE")


def _row(x: Score) -> tuple[str, ...]:
    settled = "" if x.settled_mape is None else f"{x.settled_mape:.1f}"
    numbers = (f"{x.mape:.1f}", f"{x.median:.1f}", f"{x.bias:.1f}", settled, f"{x.limit_mape:.1f}")
    return (x.source, x.name, x.device, str(x.held_out), *numbers)


def as_markdown(found: Sequence[Score]) -> str:
    """The generated section of RESULTS.md."""
    lines = [
        BEGIN,
        "## Energy",
        "",
        "Written by `python -m benchmarks.accuracy.energy --write`. Errors are percent of the mean power at the",
        "measured time, on shape sites and series that nothing was fitted on. Kernels: means of 8 readings or more.",
        "*History allowed for*: the meter shows the mean of the last second, so that up to 65 % of a mean is of what",
        "went before the run; here a run may have followed a rest. *Limit MAPE*: the power limit taken as the answer.",
        "All A100 series are held out: its numbers are transferred. What the numbers mean, and what they do not tell:",
        "[energy](../../docs/explanation/energy.md).",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(_row(x)) + " |" for x in found),
        END,
    ]
    return "\n".join(lines)


def as_table(found: Sequence[Score]) -> str:
    """Aligned columns for a terminal."""
    rows = [HEADER, *map(_row, found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def write(section: str) -> None:
    """Replaces the generated section of RESULTS.md, or appends it, and leaves the rest as it is."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Accuracy\n"
    head, found, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2] if found else "\n"
    RESULTS.write_text((head if found else head.rstrip("\n") + "\n\n") + section + tail, encoding="utf-8")


def main() -> None:
    """Prints the scores or the fits, and with --write renews RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=end_to_end_file().parent, help="folder of the measured data")
    parser.add_argument("--format", choices=("table", "json", "markdown"), default="table")
    parser.add_argument("--fit", action="store_true", help="print fitted numbers instead of scores")
    parser.add_argument("--write", action="store_true", help="renew the energy section of RESULTS.md")
    args = parser.parse_args()
    found = samples(args.data / "kernels", args.data / end_to_end_file().name)
    if args.fit:
        print("\n".join(fits(found)))
        return
    scores = [score(sample, _stated(sample)) for sample in found if sample.held_out.any()]
    if args.write:
        write(as_markdown(scores))
    if args.format == "json":
        print(json.dumps([asdict(x) for x in scores], indent=1))
    else:
        print(as_markdown(scores) if args.format == "markdown" else as_table(scores))


def _stated(sample: Sample) -> Power:
    """The power section of the sample's device; formats that it lacks take their stand-in's energy."""
    device = load_device(sample.profile)
    power = device.power
    return replace(power, static_w=power.static_w if power.static_w is not None else power.idle_w)


if __name__ == "__main__":
    main()
