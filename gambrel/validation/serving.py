"""Scores estimates against servers at a fixed concurrency, with and without the host times of their engines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError
from gambrel.estimation.build import grades
from gambrel.estimation.checks import check_plan
from gambrel.estimation.points import Points
from gambrel.estimation.resolve import resolve
from gambrel.estimation.steady import StepTimes, combine, running_sequences, sequences_in_memory, step_times
from gambrel.estimation.variant import Structure, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.runtimes import IDEAL, EngineOverheads, load_engine
from gambrel.validation.score import GRADES, Answer
from gambrel.validation.served import Served, architecture_of, device_of, read_served


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One measurement that can be answered: all that its estimate is combined from, so that host times can be fitted.

    Attributes:
        served: What was measured.
        point: The design point.
        times: Device times.
        running: Sequences of a replica in flight.
        fits: Whether the estimate holds that the run fits in memory.
        grade: The worst grade of the parameters that took part.
    """

    served: Served
    point: Points
    times: StepTimes
    running: float
    fits: bool
    grade: str


def pieces(measured: Iterable[Served]) -> tuple[list[Piece], list[Served]]:
    """Everything that estimates are combined from, and the measurements that get none, each with its reason."""
    refused: list[Served] = []
    groups: dict[tuple[Architecture, str, Structure, str], list[tuple[Served, Points]]] = {}
    for served in measured:
        run = served.run
        if run.refusal or run.plan is None or run.workload is None:
            refused.append(served)
            continue
        architecture, device = architecture_of(run.model), device_of(run.device)
        try:
            resolved = resolve(architecture, device, run.workload, run.plan, None)
            check_plan(architecture, device, run.workload, resolved.plan)
        except PlanError as error:
            refused.append(replace(served, run=replace(run, refusal=error.problems[0].what)))
            continue
        key = (architecture, run.device, resolved.structure, served.engine)
        groups.setdefault(key, []).append((served, resolved.points(run.workload)))
    return [piece for key, members in groups.items() for piece in _group(*key, members)], refused


def _group(
    architecture: Architecture,
    name: str,
    structure: Structure,
    engine_name: str,
    members: Sequence[tuple[Served, Points]],
) -> list[Piece]:
    """Pieces of the measurements of one variant on one device, evaluated together."""
    variant, device, engine = compile_variant(architecture, structure), device_of(name), load_engine(engine_name)
    points = Points.stack([point for _, point in members])
    most = sequences_in_memory(variant, device, points, engine)
    running = running_sequences(points, most, engine)
    times = step_times(variant, device, rates_of(device), replace(points, batch=running * points.dp), engine)
    columns = {f.name: np.broadcast_to(getattr(times, f.name), running.shape) for f in fields(StepTimes)}
    fits = np.broadcast_to(most >= 1.0, running.shape)
    grade = max(grades(device, variant).values(), key=GRADES.index)
    return [
        Piece(
            served=served,
            point=point,
            times=StepTimes(**{key: column[n] for key, column in columns.items()}),
            running=float(running[n]),
            fits=bool(fits[n]),
            grade=grade,
        )
        for n, (served, point) in enumerate(members)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Pieces of one engine as columns: a fit combines them many times."""

    times: StepTimes
    points: Points
    running: Array
    fits: np.typing.NDArray[np.bool_]
    equal_lengths: np.typing.NDArray[np.bool_]

    @staticmethod
    def of(chosen: Sequence[Piece]) -> "Stack":
        """Columns in the order of the pieces."""
        times = {f.name: np.array([float(getattr(p.times, f.name)) for p in chosen]) for f in fields(StepTimes)}
        return Stack(
            times=StepTimes(**times),
            points=Points.stack([p.point for p in chosen]),
            running=np.array([p.running for p in chosen]),
            fits=np.array([p.fits for p in chosen]),
            equal_lengths=np.array([p.served.equal_lengths for p in chosen]),
        )

    def tpot_s(self, engine: EngineOverheads) -> tuple[Array, Array]:
        """Time per output token with an engine's host times and batching, and the same at the plain roofline."""
        found = combine(self.times, self.points, self.running, self.fits, engine, equal_lengths=self.equal_lengths)
        return found.tpot_s, found.floor_tpot_s


def kernels_alone(engine: EngineOverheads) -> EngineOverheads:
    """An engine that batches as this one does and adds no host time."""
    return replace(
        IDEAL, mixes_prefill=engine.mixes_prefill, step_tokens=engine.step_tokens, runtime_bytes=engine.runtime_bytes
    )


def answers(found: Sequence[Piece], *, host: bool = True) -> list[Answer]:
    """The estimate of every piece, in their order.

    Args:
        found: Pieces of any engines.
        host: Whether with the host times of the engine's profile, or by kernels alone.
    """
    out: dict[int, Answer] = {}
    for name in sorted({piece.served.engine for piece in found}):
        engine = load_engine(name)
        some = [piece for piece in found if piece.served.engine == name]
        ours, floor = Stack.of(some).tpot_s(engine if host else kernels_alone(engine))
        for piece, tpot, least in zip(some, ours.tolist(), floor.tolist(), strict=True):
            out[id(piece)] = Answer(
                run=piece.served.run, estimate=tpot, roofline=least, grade=piece.grade, fits=piece.fits
            )
    return [out[id(piece)] for piece in found]


def serving_answers(file: Path) -> list[Answer]:
    """The fully specified times per output token of a file at a fixed concurrency, with their estimates.

    Raises:
        UsageError: The file cannot be read, or a line is no measurement.
    """
    found, refused = pieces(read_served(file))
    return [*answers(found), *(Answer(run=served.run, refusal=served.run.refusal) for served in refused)]
