"""What is asked: a workload, a plan, and columns of many of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem
from gambrel.ir.structure import PhaseName

LARGEST = 2**40
"""Counts above this are refused: products of them would leave the range in which doubles are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One static batch of requests.

    Attributes:
        batch: Sequences that are served together, over all replicas.
        isl: Prompt tokens of each sequence.
        osl: Output tokens of each sequence, the first one included.
        prefix: Tokens of each sequence that are in the cache before the prefill.
    """

    batch: int = 1
    isl: int = 1024
    osl: int = 128
    prefix: int = 0

    def __post_init__(self) -> None:
        """Check every count."""
        _check_counts("workload", self, zero_allowed=("prefix",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is split and stored.

    Attributes:
        strategy: A sharding strategy; None picks one from the degrees.
        tp: Tensor-parallel degree.
        pp: Pipeline stages.
        dp: Data-parallel replicas of attention (and of everything, without expert parallelism); None: what is left of
            the devices.
        cp: Context-parallel degree: the sequence and its cache over devices.
        ep: Devices that share one copy of the experts; None: 1, or all that the strategy spreads experts over.
        prefill_microbatches: Parts of the batch that follow each other through the stages in a prefill; None: four
            times the stages (GPipe, 2019, section 2: the bubble is negligible from there), at most the batch.
        microbatches: Parts of the batch that follow each other round the stages in decode; None: the stages, at most
            the batch.
        sub_batches: 2 splits the batch in halves that take turns, so that the transfers of one overlap the compute of
            the other (two-batch overlap); 1 overlaps nothing.
        weights, experts, activations, kv: Number formats; None: as the model is published, bf16 where that is silent.
        engine: Engine profile (`vllm-2023-eager`, or the path of one); `ideal` adds no host time.
    """

    strategy: str | None = None
    tp: int = 1
    pp: int = 1
    dp: int | None = None
    cp: int = 1
    ep: int | None = None
    prefill_microbatches: int | None = None
    microbatches: int | None = None
    sub_batches: int = 1
    weights: str | None = None
    experts: str | None = None
    activations: str | None = None
    kv: str | None = None
    engine: str = "ideal"

    def __post_init__(self) -> None:
        """Check every count."""
        _check_counts("plan", self)


DEGREES = ("tp", "pp", "dp", "cp", "ep", "prefill_microbatches", "microbatches", "sub_batches")
LENGTHS = ("batch", "isl", "osl", "prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Design points as columns that broadcast against each other, every count resolved.

    Attributes:
        batch, isl, osl, prefix: As in Workload.
        tp, pp, dp, cp, ep, prefill_microbatches, microbatches, sub_batches: As in Plan.
    """

    batch: Array
    isl: Array
    osl: Array
    prefix: Array
    tp: Array
    pp: Array
    dp: Array
    cp: Array
    ep: Array
    prefill_microbatches: Array
    microbatches: Array
    sub_batches: Array

    @staticmethod
    def of(**columns: Array | float) -> "Points":
        """Columns from numbers or arrays; `prefix` is 0 and degrees are 1 where not given."""
        defaults: dict[str, Array | float] = {"prefix": 0.0, **dict.fromkeys(DEGREES, 1.0)}
        return Points(**{name: np.asarray(value, dtype=np.float64) for name, value in (defaults | columns).items()})

    @property
    def devices(self) -> Array:
        """Devices that the plan takes."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def context(self) -> Array:
        """Tokens that a cache holds in the end."""
        return self.prefix + self.isl + self.osl

    def parts(self, phase: PhaseName) -> Array:
        """Microbatches of a phase."""
        return self.prefill_microbatches if phase == "prefill" else self.microbatches

    def binding(self, phase: PhaseName) -> Mapping[str, Array]:
        """Values of the symbols of a module: `b` is what one kernel takes of a microbatch, axes are their degrees."""
        inner = np.minimum(self.ep, self.tp)
        return {
            "b": np.ceil(self.batch / self.parts(phase) / self.sub_batches),
            "s": self.isl,
            "tp": self.tp,
            "pp": self.pp,
            "dp": self.dp,
            "cp": self.cp,
            "ep": self.ep,
            "edp": np.maximum(self.dp * self.cp * self.tp / self.ep, 1.0),
            "tp_ep": inner,
            "tp_etp": np.ceil(self.tp / inner),
        }


def _check_counts(what: str, record: Workload | Plan, zero_allowed: tuple[str, ...] = ()) -> None:
    problems: list[Problem] = []
    for field in fields(record):
        value: object = getattr(record, field.name)
        if value is None or isinstance(value, str):
            continue
        where = f"{what}.{field.name}"
        least = 0 if field.name in zero_allowed else 1
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            problems.append(Problem(where=where, what=f"{value!r} is not a count", fix="Give a whole number"))
        elif value != int(value):
            problems.append(Problem(where=where, what=f"{value!r} is not whole", fix="Give a whole number"))
        elif not least <= value <= LARGEST:
            problems.append(
                Problem(where=where, what=f"{int(value)} is out of range", fix=f"Give {least} to {LARGEST}")
            )
    if problems:
        raise PlanError(*problems)
