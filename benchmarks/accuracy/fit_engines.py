"""Fits the host times of engine profiles to published static-batch runs.

Usage: python -m benchmarks.accuracy.fit_engines [--data FILE]

Kernels are priced as they are; only the four host times of an engine profile are free. Runs are split by model, device
and plan: half of these series are fitted, the other half is scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.accuracy.end_to_end import data_file
from benchmarks.accuracy.engine_series import held_out
from gambrel.errors import GambrelError
from gambrel.estimation.api import estimate
from gambrel.estimation.result import PhaseEstimate
from gambrel.hardware.load import load_device
from gambrel.runtimes import load_engine_profile
from gambrel.validation.runs import ENGINES, PROFILES, Run, Unanswerable, architecture_of, read_runs

NAMES = ("kernel_launch", "prefill_overhead", "step_overhead", "sequence_overhead")
START = np.array([8e-6, 2e-3, 1e-3, 20e-6])
PRIOR_SIGMA = 1.5
"""Spread of ln(parameter) around START: wide, so that the measurements decide where there are some."""

NOISE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run: what the devices take alone, and what was measured."""

    run: Run
    prefill_s: float
    step_s: float
    prefill_launches: float
    step_launches: float
    held_out: bool


def _launches(phase: PhaseEstimate) -> float:
    return sum(row.count for row in phase.rows if row.seconds > 0)


def points(file: Path) -> list[Point]:
    """All runs of engines with a profile that an estimate answers, with the kernels of the engine's libraries."""
    out: list[Point] = []
    for run in read_runs(file):
        unasked = run.refusal or run.metric == "peak memory" or run.engine not in ENGINES
        if unasked or run.plan is None or run.workload is None:
            continue
        plan = replace(run.plan, engine=ENGINES[run.engine])
        try:
            architecture = architecture_of(run.model, run.dims)
            found = estimate(architecture, load_device(PROFILES[run.device]), plan=plan, workload=run.workload)
        except (Unanswerable, GambrelError):
            continue
        decode = found.decode or found.prefill
        out.append(
            Point(
                run=run,
                prefill_s=found.prefill.seconds - found.prefill.host_seconds,
                step_s=decode.seconds - decode.host_seconds,
                prefill_launches=_launches(found.prefill) / plan.pp,
                step_launches=_launches(decode) / plan.pp,
                held_out=held_out(run),
            )
        )
    return out


def predict(theta: Sequence[float], point: Point) -> float:
    """A metric with these host times; launches hide behind kernels where the device takes longer."""
    launch, prefill_overhead, step_overhead, sequence_overhead = theta
    run = point.run
    assert run.workload is not None
    prefill = max(point.prefill_s, point.prefill_launches * launch) + prefill_overhead
    step = max(point.step_s, point.step_launches * launch) + step_overhead + sequence_overhead * run.workload.batch
    osl = run.workload.osl
    latency = prefill + (osl - 1) * step
    match run.metric:
        case "ttft":
            return prefill
        case "tpot":
            return step
        case "e2e_latency":
            return latency
        case _:
            assert run.plan is not None
            devices = run.plan.tp * run.plan.pp if "device" in run.metric else 1
            return run.workload.batch * osl / latency / devices


def errors(theta: Sequence[float], chosen: Sequence[Point]) -> np.ndarray:
    """ln(estimate / measurement)."""
    return np.array([np.log(predict(theta, p) / p.run.value) for p in chosen])


def fit(chosen: Sequence[Point], *, eager: bool) -> np.ndarray:
    """Host times by maximum a posteriori with log-normal priors; graphs have no launch time."""

    def theta(z: np.ndarray) -> np.ndarray:
        values = START * np.exp(z)
        return values if eager else np.array([0.0, *values[1:]])

    def residual(z: np.ndarray) -> np.ndarray:
        return np.concatenate([errors(theta(z), chosen) / NOISE, z / PRIOR_SIGMA])

    best = min(
        (
            least_squares(residual, start, bounds=(-6, 6), loss="soft_l1", diff_step=1e-2)
            for start in (np.zeros(4), np.array([1.0, 0, 1, 1]), np.array([-1.0, -1, -1, -1]))
        ),
        key=lambda found: found.cost,
    )
    return theta(best.x)


def main() -> None:
    """Prints the host times of each engine and device, with errors on the series that were not fitted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    every = points(parser.parse_args().data or data_file())
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in every:
        groups.setdefault((point.run.engine, ""), []).append(point)
        groups.setdefault((point.run.engine, point.run.device), []).append(point)
    for (engine, device), members in sorted(groups.items()):
        fitted, scored = [p for p in members if not p.held_out], [p for p in members if p.held_out]
        if not fitted:
            continue
        theta = fit(fitted, eager=load_engine_profile(ENGINES[engine]).launch.prefill == "eager")
        shown = ", ".join(f"{name} {value * 1e6:.0f} us" for name, value in zip(NAMES, theta, strict=True))
        print(f"{engine} on {device or 'all devices'}: {shown}")
        for name, part in (("fitted", fitted), ("held out", scored)):
            for metric in sorted({p.run.metric for p in part}):
                some = [p for p in part if p.run.metric == metric]
                before, after = (np.abs(np.expm1(errors(t, some))) for t in ([0.0] * 4, theta))
                mean, median = (f"{100 * of(before):5.1f} -> {100 * of(after):5.1f} %" for of in (np.mean, np.median))
                print(f"  {name:9} {metric:22} {len(some):4} runs: mean {mean}, median {median}")


if __name__ == "__main__":
    main()
