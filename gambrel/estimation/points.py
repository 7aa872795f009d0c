"""What is asked: a workload, a plan, and columns of many of both."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem
from gambrel.estimation.placement import check_placement, strides
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
        prefill_chunk: Most tokens of a sequence in one pass of a prefill (chunked prefill): longer prompts pass in
            equal chunks, each over the cache of those before it; None: prompts pass whole.
        placement: How ranks are laid out, from the inside: `tp-cp-dp-pp` gives neighbouring ranks to tp; None: that.
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
    prefill_chunk: int | None = None
    placement: str | None = None
    weights: str | None = None
    experts: str | None = None
    activations: str | None = None
    kv: str | None = None
    engine: str = "ideal"

    def __post_init__(self) -> None:
        """Check every count, and the placement."""
        _check_counts("plan", self)
        if self.placement is not None:
            check_placement(self.placement)


DEGREES = ("tp", "pp", "dp", "cp", "ep", "prefill_microbatches", "microbatches", "sub_batches")
LENGTHS = ("batch", "isl", "osl", "prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Design points as columns that broadcast against each other, every count resolved.

    Attributes:
        batch, isl, osl, prefix: As in Workload.
        tp, pp, dp, cp, ep, prefill_microbatches, microbatches, sub_batches: As in Plan.
        prefill_chunk: As in Plan; infinite where prompts pass whole.
        placement: Index into PLACEMENTS.
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
    prefill_chunk: Array
    placement: Array

    @staticmethod
    def of(**columns: Array | float) -> "Points":
        """Columns from numbers or arrays; `prefix` is 0, degrees are 1, prompts pass whole where not given."""
        return Points(**{name: np.asarray(value, dtype=np.float64) for name, value in (_DEFAULTS | columns).items()})

    @staticmethod
    def stack(points: Sequence["Points"]) -> "Points":
        """One row a point."""
        return Points.of(
            **{field.name: np.array([float(getattr(p, field.name)) for p in points]) for field in fields(Points)}
        )

    @property
    def devices(self) -> Array:
        """Devices that the plan takes."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def context(self) -> Array:
        """Tokens that a cache holds in the end."""
        return self.prefix + self.isl + self.osl

    @property
    def chunks(self) -> Array:
        """Passes of one prompt."""
        return np.ceil(self.isl / np.minimum(self.prefill_chunk, self.isl))

    @property
    def pass_tokens(self) -> Array:
        """New tokens of a sequence in one pass of a prefill: all chunks are equal."""
        return np.ceil(self.isl / self.chunks)

    def parts(self, phase: PhaseName) -> Array:
        """Microbatches of a phase."""
        return self.prefill_microbatches if phase == "prefill" else self.microbatches

    def passes(self, phase: PhaseName) -> Array:
        """Times that something goes through all stages: each microbatch, in a prefill each chunk of it."""
        return self.prefill_microbatches * self.chunks if phase == "prefill" else self.microbatches

    def binding(self, phase: PhaseName) -> Mapping[str, Array]:
        """Values of the symbols of a module: `b` is what one kernel takes of a microbatch, axes are their degrees."""
        inner = np.minimum(self.ep, self.tp)
        axes = {
            "tp": self.tp,
            "pp": self.pp,
            "dp": self.dp,
            "cp": self.cp,
            "ep": self.ep,
            "edp": np.maximum(self.dp * self.cp * self.tp / self.ep, 1.0),
            "tp_ep": inner,
            "tp_etp": np.ceil(self.tp / inner),
        }
        return {
            "b": np.ceil(self.batch / self.parts(phase) / self.sub_batches),
            "s": self.pass_tokens if phase == "prefill" else np.ones(()),
            **axes,
            **strides(self.placement, axes),
        }


_DEFAULTS: dict[str, Array | float] = {
    "prefix": 0.0,
    **dict.fromkeys(DEGREES, 1.0),
    "prefill_chunk": math.inf,
    "placement": 0.0,
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
