"""The answer of a plan search: the best plans, the front, what was left out and why, or what cannot be met."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from gambrel.estimation.points import Plan, Workload
from gambrel.search.metrics import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChoice:
    """One plan with its answers.

    Attributes:
        machine: The hardware profile as it was named.
        devices: How many.
        workload: Lengths and batch; in a continuous batch the requests in flight.
        plan: Complete: an estimate of it gives the same answers.
        metrics: By name of METRICS; what is not known is left out.
    """

    machine: str
    devices: int
    workload: Workload
    plan: Plan
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """Plain values; units are in the names."""
        return {
            "machine": self.machine,
            "devices": self.devices,
            "workload": asdict(self.workload),
            "plan": asdict(self.plan),
            **self.metrics,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A limit that cannot be met.

    Attributes:
        metric: Of METRICS.
        limit: What was asked.
        reached: The best value: of this metric alone, or together with the other limits.
        gap: By how much it is missed, in the metric's unit.
        ratio: By what factor it is missed.
    """

    metric: str
    limit: float
    reached: float
    gap: float
    ratio: float


Nearest = TypeVar("Nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible(Generic[Nearest]):
    """Why there is no plan, or no pair of pools.

    Attributes:
        tightest: The limit that is missed by the largest factor: by the best plan for it where no plan meets it, else
            by the plan that comes nearest to meeting all of them. Memory where nothing fits.
        alone: Limits that no plan meets, whatever the others say.
        together: What the nearest plan misses.
        nearest: The plan that comes nearest; None where nothing fits.
    """

    tightest: Miss
    alone: Sequence[Miss]
    together: Sequence[Miss]
    nearest: Nearest | None

    def __str__(self) -> str:
        miss = self.tightest
        word = "at least" if miss.metric in METRICS and METRICS[miss.metric].higher_is_better else "at most"
        return f"{miss.metric}: {word} {miss.limit:.4g} is asked, {miss.reached:.4g} is the best, off by {miss.gap:.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the points of a space.

    Attributes:
        priced: Points whose time was computed.
        fit: Of them, those that fit in memory.
        met: Of them, those that meet all limits.
        pruned: Points that were left out, by the proof; degrees that cannot run count as one each.
        unsearched: Points that were not looked at, since the search was stopped.
    """

    priced: int
    fit: int
    met: int
    pruned: Mapping[str, int]
    unsearched: int = 0

    @property
    def searched(self) -> int:
        """Points that were priced or left out."""
        return self.priced + sum(self.pruned.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNote:
    """A machine that was searched.

    Attributes:
        machine: The hardware profile as it was named.
        title: For people.
        profile_hash: Of the profile with all overrides.
        grades: Where the engine parameters of each family come from.
    """

    machine: str
    title: str
    profile_hash: str
    grades: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """The answer of a plan search.

    Attributes:
        model: Its name.
        workload: Lengths; the batch is that of the best plan, 1 without one.
        batching: `static`: one batch is prefilled, then decoded; `continuous`: requests are replaced as they end.
        objective: What was optimised.
        limits: What had to be met.
        best: The best batch of each strategy, degrees and formats, best first; replicas that do equally well are one.
        front: Plans that no other beats in all of `front_metrics`.
        front_metrics: Axes of the front.
        points: The best point of each plan and batch that meets the limits, and the front, where they were asked for.
        counts: What became of the space.
        infeasible: Why there is no plan; None where there is one.
        machines: What was searched.
        assumptions: In words.
        version: Of this project.
        named: The model as it was named: a library name or a path.
        overrides: What-ifs on the profiles.
    """

    model: str
    workload: Workload
    batching: str
    objective: str
    limits: Mapping[str, float]
    best: Sequence[PlanChoice]
    front: Sequence[PlanChoice]
    front_metrics: tuple[str, ...]
    points: Sequence[PlanChoice]
    counts: Counts
    infeasible: Infeasible[PlanChoice] | None
    machines: Sequence[MachineNote]
    assumptions: Sequence[str]
    version: str
    named: str = ""
    overrides: Sequence[str] = ()

    @property
    def feasible(self) -> bool:
        """Whether some plan meets everything; of a search that was stopped, some plan of those that it came to."""
        return self.infeasible is None

    @property
    def complete(self) -> bool:
        """Whether the whole space was searched."""
        return self.counts.unsearched == 0

    def to_dict(self) -> dict[str, object]:
        """Plain values only; the points are left to a saved run."""
        infeasible = self.infeasible
        return {
            "model": self.model,
            "workload": asdict(self.workload),
            "batching": self.batching,
            "objective": self.objective,
            "limits": dict(self.limits),
            "complete": self.complete,
            "feasible": self.feasible,
            "infeasible": None
            if infeasible is None
            else {
                "tightest": asdict(infeasible.tightest),
                "alone": [asdict(miss) for miss in infeasible.alone],
                "together": [asdict(miss) for miss in infeasible.together],
                "nearest": None if infeasible.nearest is None else infeasible.nearest.to_dict(),
            },
            "best": [choice.to_dict() for choice in self.best],
            "front_metrics": list(self.front_metrics),
            "front": [choice.to_dict() for choice in self.front],
            "counts": asdict(self.counts),
            "machines": [asdict(note) for note in self.machines],
            "assumptions": list(self.assumptions),
            "version": self.version,
            "named": self.named,
            "overrides": list(self.overrides),
        }
