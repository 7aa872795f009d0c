"""Scores estimates against published end-to-end measurements of static batches, with plain roofline beside them.

Usage: python -m benchmarks.accuracy.end_to_end [--data FILE] [--device D] [--family F]
           [--format table|json|markdown|residuals] [--write]

Nothing is fitted on these measurements. `residuals` prints one line a measurement, for a look at what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.accuracy.measured_runs import PROFILES, Run, Unanswerable, architecture_of, read_runs
from gambrel.errors import GambrelError
from gambrel.estimation.api import estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.result import Estimate, PhaseEstimate
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.load import load_device

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- end to end: generated -->", "<!-- end to end: end -->"
GRADES = ("calibrated", "transferred", "datasheet")
"""Best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One measurement beside its estimate; None where there is no answer, and why.

    Attributes:
        run: What was measured.
        estimate: s, tokens/s or B.
        roofline: The same from the plain roofline of all kernels; None for memory.
        grade: The worst grade of the parameters that took part.
        fits: Whether the estimate holds that the run fits in memory, as it evidently did.
        refusal: Why there is no estimate.
    """

    run: Run
    estimate: float | None = None
    roofline: float | None = None
    grade: str = ""
    fits: bool = True
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of one metric of one source on one device, in percent; None where not answered.

    Attributes:
        family: Source of the measurements.
        op: The engine that was measured.
        n: Measurements.
        answered: Share of them that got an estimate, 0 to 1.
        mape, median, p90: Absolute relative error.
        bias: Geometric mean of estimate over measurement, minus one.
        roofline_mape: The same mean for plain roofline.
        misfits: Measured runs that do not fit in memory by our estimate.
        beyond: Measurements better than plain roofline, so that the run was not what its row says.
    """

    family: str
    op: str
    device: str
    dtype: str
    grade: str
    n: int
    answered: float
    mape: float | None = None
    median: float | None = None
    p90: float | None = None
    bias: float | None = None
    roofline_mape: float | None = None
    metric: str
    category: str
    misfits: int = 0
    beyond: int = 0


def data_file() -> Path:
    """The measurements: `e2e_open.jsonl.gz` in GAMBREL_DATA, or in `../shared/data` beside the repository."""
    return Path(os.environ.get("GAMBREL_DATA", ROOT.parent / "shared" / "data")) / "e2e_open.jsonl.gz"


@lru_cache(maxsize=1024)
def _estimate(architecture: Architecture, profile: str, plan: Plan, workload: Workload) -> Estimate:
    return estimate(architecture, _device(profile), plan=plan, workload=workload)


_device = lru_cache(load_device)


def answer(run: Run) -> Answer:
    """The estimate of what a run measured."""
    if run.refusal:
        return Answer(run=run, refusal=run.refusal)
    if run.plan is None or run.workload is None:
        return Answer(run=run, refusal="precision or batch not understood")
    try:
        architecture = architecture_of(run.model, run.dims)
        found = _estimate(architecture, PROFILES[run.device], run.plan, run.workload)
    except Unanswerable as error:
        return Answer(run=run, refusal=str(error))
    except GambrelError as error:
        return Answer(run=run, refusal=error.problems[0].what)
    ours, plain = _metric(run, found)
    worst = max(found.provenance.grades.values(), key=GRADES.index)
    return Answer(run=run, estimate=ours, roofline=plain, grade=worst, fits=found.feasible)


def _metric(run: Run, found: Estimate) -> tuple[float, float | None]:
    """A metric of an estimate, and the same at the roofline."""
    assert run.workload is not None
    batch, osl = run.workload.batch, run.workload.osl
    first = _floor(found.prefill, found.plan, prefill=True)
    step = _floor(found.decode, found.plan, prefill=False) if found.decode else 0.0
    latency = first + (osl - 1) * step
    match run.metric:
        case "ttft":
            return found.ttft_s, first
        case "tpot":
            assert found.tpot_s is not None
            return found.tpot_s, step
        case "e2e_latency":
            return found.latency_s, latency
        case "throughput":
            return found.tokens_per_s, batch * osl / latency
        case "throughput per device":
            return found.tokens_per_s_per_device, batch * osl / latency / found.devices
        case _:
            return found.memory.total_bytes, None


def _floor(phase: PhaseEstimate, plan: Plan, *, prefill: bool) -> float:
    """Seconds of a phase at the plain roofline: the pipeline's formulas over stages of equal length.

    `whole = floor pp / m`; prefill `whole + (m - 1) whole / pp`, decode `max(whole, m whole / pp)`.
    """
    stages, parts = plan.pp, plan.microbatches or 1
    whole = phase.floor_seconds * stages / parts
    return whole + (parts - 1) * whole / stages if prefill else max(whole, parts * whole / stages)


def scores(answers: Sequence[Answer]) -> list[Score]:
    """One score for each source, engine, device, precision and metric."""
    groups: dict[tuple[str, str, str, str, str, str], list[Answer]] = {}
    for item in answers:
        run = item.run
        key = (run.family, run.engine, run.device, run.dtype, run.metric, run.category)
        groups.setdefault(key, []).append(item)
    return [_score(key, group) for key, group in sorted(groups.items())]


def _score(key: tuple[str, str, str, str, str, str], group: Sequence[Answer]) -> Score:
    family, engine, device, dtype, metric, category = key
    answered = [item for item in group if item.estimate is not None]
    label = {"family": family, "op": engine, "device": device, "dtype": dtype, "metric": metric, "category": category}
    if not answered:
        reason = Counter(item.refusal for item in group).most_common(1)[0][0]
        return Score(**label, grade=reason, n=len(group), answered=0.0)
    ours = np.array([item.estimate for item in answered], dtype=np.float64)
    measured = np.array([item.run.value for item in answered])
    errors = 100.0 * np.abs(ours / measured - 1.0)
    plain = [100.0 * abs(item.roofline / item.run.value - 1.0) for item in answered if item.roofline is not None]
    return Score(
        **label,
        grade=max((item.grade for item in answered), key=GRADES.index),
        n=len(group),
        answered=len(answered) / len(group),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        bias=float(100.0 * np.expm1(np.log(ours / measured).mean())),
        roofline_mape=float(np.mean(plain)) if plain else None,
        misfits=sum(not item.fits for item in answered),
        beyond=sum(_beyond(item) for item in answered),
    )


def _beyond(item: Answer) -> bool:
    if item.roofline is None:
        return False
    better_above = item.run.metric.startswith("throughput")
    return item.run.value > item.roofline if better_above else item.run.value < item.roofline


HEADER = (
    "source",
    "engine",
    "device",
    "precision",
    "metric",
    "rows",
    "answered",
    "parameters",
    "MAPE",
    "median",
    "p90",
    "bias",
    "roofline MAPE",
    "misfits",
    "beyond",
)


def _row(x: Score) -> tuple[str, ...]:
    numbers = [f"{v:.1f}" if v is not None else "" for v in (x.mape, x.median, x.p90, x.bias, x.roofline_mape)]
    share = f"{100 * x.answered:.0f} %"
    return (
        x.family,
        x.op,
        x.device,
        x.dtype,
        x.metric,
        str(x.n),
        share,
        x.grade,
        *numbers,
        str(x.misfits),
        str(x.beyond),
    )


def as_table(found: Sequence[Score]) -> str:
    """Aligned columns for a terminal."""
    rows = [HEADER, *map(_row, found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def as_markdown(found: Sequence[Score], answers: Sequence[Answer]) -> str:
    """The generated section of RESULTS.md."""
    lines = [
        BEGIN,
        "## End to end",
        "",
        "Written by `python -m benchmarks.accuracy.end_to_end --write`. Errors are percent of the measured value, of",
        "published runs of one static batch; none was used to fit anything. *Parameters*: the worst grade that took",
        "part. *Bias*: geometric mean of estimate over measurement, minus one; negative is too small. *Misfits*: runs",
        "that were measured but do not fit in memory by our estimate. *Beyond*: rows better than plain roofline, which",
        "means that the run was not what its row says; they are scored all the same. The engines of 2023 launch kernel",
        "by kernel, estimates assume captured graphs: see [what the errors say](../../docs/explanation/accuracy.md).",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(_row(x)) + " |" for x in found if x.answered),
        "",
        "Not answered: " + "; ".join(_silent(answers)) + ".",
        END,
    ]
    return "\n".join(lines)


def _silent(answers: Sequence[Answer]) -> list[str]:
    """What got no answer, per source, device and reason, with its rows."""
    counts = Counter((x.run.family, x.run.device, x.refusal) for x in answers if x.estimate is None)
    return [f"{family} {device} ({rows} rows: {why})" for (family, device, why), rows in sorted(counts.items())] or [
        "nothing"
    ]


def residuals(answers: Sequence[Answer]) -> str:
    """One line a measurement, tab-separated."""
    lines = ["family\tengine\tdevice\tmodel\ttp\tpp\tbatch\tisl\tosl\tmetric\tmeasured\testimate\troofline"]
    for x in answers:
        if x.estimate is not None and x.run.plan is not None and x.run.workload is not None:
            run, plan, work = x.run, x.run.plan, x.run.workload
            cells = (run.family, run.engine, run.device, run.model, plan.tp, plan.pp, work.batch, work.isl, work.osl)
            numbers = (run.value, x.estimate, x.roofline if x.roofline is not None else float("nan"))
            lines.append("\t".join([*map(str, cells), run.metric, *(f"{value:.6g}" for value in numbers)]))
    return "\n".join(lines)


def write(section: str) -> None:
    """Replaces the generated section of RESULTS.md, or appends it, and leaves the rest as it is."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Accuracy\n"
    head, found, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2] if found else "\n"
    RESULTS.write_text((head if found else head.rstrip("\n") + "\n\n") + section + tail, encoding="utf-8")


def main() -> None:
    """Prints the scores, and with --write renews RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_file(), help="the file of measurements")
    parser.add_argument("--device", help="one measured device, such as H100-SXM-80GB")
    parser.add_argument("--family", help="one source, such as splitwise")
    parser.add_argument("--format", choices=("table", "json", "markdown", "residuals"), default="table")
    parser.add_argument("--write", action="store_true", help="renew the end-to-end section of RESULTS.md")
    args = parser.parse_args()
    runs = [run for run in read_runs(args.data) if args.device in (None, run.device)]
    answers = [answer(run) for run in runs if args.family in (None, run.family)]
    found = scores(answers)
    if args.write:
        write(as_markdown(found, answers))
    match args.format:
        case "json":
            print(json.dumps([asdict(x) for x in found], indent=1))
        case "markdown":
            print(as_markdown(found, answers))
        case "residuals":
            print(residuals(answers))
        case _:
            print(as_table([x for x in found if x.answered]))
            print("not answered:", *_silent(answers), sep="\n  ")


if __name__ == "__main__":
    main()
