"""Scores estimates against published end-to-end runs of one static batch, with plain roofline beside them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gambrel.errors import GambrelError
from gambrel.estimation.api import estimate
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.result import Estimate, PhaseEstimate
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.load import load_device
from gambrel.validation.runs import ENGINES, PROFILES, Run, Unanswerable, architecture_of

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
    """Errors of one metric of one source on one device, as fractions; None where not answered.

    Attributes:
        family: Source of the measurements.
        op: The engine that was measured.
        device: As the source names it.
        dtype: Precision, as the source names it.
        grade: The worst of the parameters that took part, or why there is no answer.
        n: Measurements.
        answered: Share of them that got an estimate, 0 to 1.
        mape, median, p90: Absolute relative error.
        bias: Geometric mean of estimate over measurement, minus one.
        coverage95: None: an estimate of a whole model has no interval yet.
        roofline_mape: The same mean for plain roofline.
        metric: What was measured, such as ttft.
        category: As the source names it.
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
    coverage95: float | None = None
    roofline_mape: float | None = None
    metric: str
    category: str
    misfits: int = 0
    beyond: int = 0


@lru_cache(maxsize=1024)
def _estimate(architecture: Architecture, profile: str, plan: Plan, workload: Workload) -> Estimate:
    return estimate(architecture, _device(profile), plan=plan, workload=workload)


_device = lru_cache(load_device)


def answer(run: Run, *, host: bool = False) -> Answer:
    """The estimate of what a run measured.

    Args:
        run: The measurement.
        host: Whether with the host times and the libraries of its engine's profile, or by kernels alone.
    """
    if run.refusal:
        return Answer(run=run, refusal=run.refusal)
    if run.plan is None or run.workload is None:
        return Answer(run=run, refusal="precision or batch not understood")
    if host and run.engine not in ENGINES:
        return Answer(run=run, refusal="no engine profile")
    plan = replace(run.plan, engine=ENGINES[run.engine]) if host else run.plan
    try:
        architecture = architecture_of(run.model, run.dims)
        found = _estimate(architecture, PROFILES[run.device], plan, run.workload)
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


class Key(NamedTuple):
    """What a score is of."""

    family: str
    op: str
    device: str
    dtype: str
    metric: str
    category: str


def scores(answers: Sequence[Answer]) -> list[Score]:
    """One score for each source, engine, device, precision and metric."""
    groups: dict[Key, list[Answer]] = {}
    for item in answers:
        run = item.run
        key = Key(run.family, run.engine, run.device, run.dtype, run.metric, run.category)
        groups.setdefault(key, []).append(item)
    return [_score(key, group) for key, group in sorted(groups.items())]


def _score(key: Key, group: Sequence[Answer]) -> Score:
    answered = [item for item in group if item.estimate is not None]
    if not answered:
        reason = Counter(item.refusal for item in group).most_common(1)[0][0]
        return Score(**key._asdict(), grade=reason, n=len(group), answered=0.0)
    ours = np.array([item.estimate for item in answered], dtype=np.float64)
    measured = np.array([item.run.value for item in answered])
    errors = np.abs(ours / measured - 1.0)
    plain = [abs(item.roofline / item.run.value - 1.0) for item in answered if item.roofline is not None]
    return Score(
        **key._asdict(),
        grade=max((item.grade for item in answered), key=GRADES.index),
        n=len(group),
        answered=len(answered) / len(group),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        bias=float(np.expm1(np.log(ours / measured).mean())),
        roofline_mape=float(np.mean(plain)) if plain else None,
        misfits=sum(not item.fits for item in answered),
        beyond=sum(_beyond(item) for item in answered),
    )


def _beyond(item: Answer) -> bool:
    if item.roofline is None:
        return False
    better_above = item.run.metric.startswith("throughput")
    return item.run.value > item.roofline if better_above else item.run.value < item.roofline


RUN_HEADER = ("run", "device", "precision", "metric", ">rows", ">MAPE", ">median", ">bias", ">roofline")
"""Columns of the text forms; those whose name begins with `>` are numbers."""


def run_cells(score: Score) -> tuple[str, ...]:
    """A score under RUN_HEADER; errors in percent."""
    errors = (score.mape, score.median, score.bias, score.roofline_mape)
    numbers = ("" if value is None else f"{100.0 * value:.1f}" for value in errors)
    return (f"{score.family}, {score.op}", score.device, score.dtype, score.metric, str(score.n), *numbers)


def run_table(found: Sequence[Score]) -> str:
    """The answered scores as a Markdown table; errors in percent."""
    rule = "".join("---:|" if name.startswith(">") else "---|" for name in RUN_HEADER)
    lines = ["| " + " | ".join(name.removeprefix(">") for name in RUN_HEADER) + " |", "|" + rule]
    lines += ["| " + " | ".join(run_cells(score)) + " |" for score in found if score.answered]
    return "\n".join(lines)


def silent_runs(found: Sequence[Score]) -> list[str]:
    """What got no answer: device, reason, and its rows."""
    rows = Counter[tuple[str, str]]()
    for score in found:
        if not score.answered:
            rows[score.device or "device not named", score.grade] += score.n
    return [f"{device}: {reason} ({n:,} rows)" for (device, reason), n in sorted(rows.items())]
