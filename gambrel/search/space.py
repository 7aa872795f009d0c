"""What a plan search may choose from: degrees, strategies, batches, micro-batches, chunks, placements and formats."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.estimation.placement import PLACEMENTS, check_placement
from gambrel.passes.strategies import STRATEGIES

Counts = tuple[int, ...] | None
"""Values to choose from; None: all that make sense."""

REPLICA_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Sequences of one replica that are tried where the batch is open: two a doubling."""

CHUNKS = (2048, 512)
"""Chunks of a prompt that are tried beside whole prompts, where prompts are longer."""

PREFILL_PARTS = (1, 2, 4)
PARTS = (1, 2)
"""Micro-batches that are tried, in multiples of the stages: GPipe's bubble is negligible from four times (2019, section
2); in decode the stages are full from once."""

SUB_BATCHES = (1, 2)

Names = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The choices of a search; what is None takes all values that make sense.

    Attributes:
        strategies: Names of sharding strategies.
        tp, pp, dp, cp, ep: Degrees; open ones take every divisor of the devices.
        batches: Sequences over all replicas; open: REPLICA_BATCHES times the replicas.
        prefill_microbatches, microbatches: Open: PREFILL_PARTS and PARTS times the stages, at most a replica's batch.
        sub_batches: 1, 2 or both.
        prefill_chunks: Most tokens of a sequence in one pass; open: whole prompts and CHUNKS.
        placements: How ranks are laid out; open: all that cross links differently.
        weights, experts, activations, kv: Number formats; None among them stands for the published one.
        engine: Engine profile.
    """

    strategies: tuple[str, ...] | None = None
    tp: Counts = None
    pp: Counts = None
    dp: Counts = None
    cp: Counts = None
    ep: Counts = None
    batches: Counts = None
    prefill_microbatches: Counts = None
    microbatches: Counts = None
    sub_batches: Counts = None
    prefill_chunks: Counts = None
    placements: tuple[str, ...] | None = None
    weights: Names = (None,)
    experts: Names = (None,)
    activations: Names = (None,)
    kv: Names = (None,)
    engine: str = "ideal"

    def __post_init__(self) -> None:
        """Refuse empty lists, counts below one, and unknown names."""
        problems = [*_empty(self), *_counts(self)]
        for name in self.strategies or ():
            if name not in STRATEGIES:
                fix = did_you_mean(name, STRATEGIES)
                problems.append(Problem(where="space.strategies", what=f"unknown strategy '{name}'", fix=fix))
        if problems:
            raise PlanError(*problems)
        for name in self.placements or ():
            check_placement(name)

    @property
    def strategy_names(self) -> tuple[str, ...]:
        """Strategies to try."""
        return self.strategies or tuple(STRATEGIES)

    @property
    def placement_names(self) -> tuple[str, ...]:
        """Placements to try."""
        return self.placements or PLACEMENTS

    def chunks(self, isl: int) -> tuple[float, ...]:
        """Chunks to try on prompts of so many tokens: infinity for whole ones, each only once."""
        asked: tuple[float, ...] = self.prefill_chunks or (float("inf"), *CHUNKS)
        return tuple(dict.fromkeys(chunk if chunk < isl else float("inf") for chunk in asked))


def factorisations(devices: int, space: Space) -> Iterator[tuple[int, int, int, int]]:
    """All (tp, pp, cp, dp) with the product `devices` that a space allows, in rising order."""

    def allowed(values: Counts, value: int) -> bool:
        return values is None or value in values

    for tp in divisors(devices):
        if not allowed(space.tp, tp):
            continue
        for pp in divisors(devices // tp):
            if not allowed(space.pp, pp):
                continue
            for cp in divisors(devices // tp // pp):
                dp = devices // tp // pp // cp
                if allowed(space.cp, cp) and allowed(space.dp, dp):
                    yield tp, pp, cp, dp


def divisors(value: int) -> list[int]:
    """Divisors of a positive number in rising order."""
    small = [d for d in range(1, int(value**0.5) + 1) if value % d == 0]
    return small + [value // d for d in reversed(small) if d * d != value]


def _empty(space: Space) -> Iterator[Problem]:
    for field in fields(space):
        if getattr(space, field.name) == ():
            yield Problem(where=f"space.{field.name}", what="no values", fix="Give at least one, or leave it open")


def _counts(space: Space) -> Iterator[Problem]:
    for name in (
        *("tp", "pp", "dp", "cp", "ep", "batches"),
        *("prefill_microbatches", "microbatches", "sub_batches", "prefill_chunks"),
    ):
        values: Counts = getattr(space, name)
        for value in values or ():
            if value < 1:
                yield Problem(where=f"space.{name}", what=f"{value} is out of range", fix="Give 1 or more")
