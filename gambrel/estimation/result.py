"""The answer: an estimate of one design point with its reasons, and a table of many."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gambrel.estimation.points import Plan, Workload

Bound = Literal["compute", "memory", "network", "latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEstimate:
    """One kernel or transfer, priced.

    Attributes:
        name: For people.
        op: IR ops.
        family: What its time is booked under.
        rate: Number format at whose matrix rate it runs; empty outside the matrix units.
        kernel: What was priced, `Gemm(m=32, n=1280, k=8192, ...)`.
        count: Executions on the mean device in one pass (prefill) or one step (decode).
        seconds: One execution.
        total_seconds: All executions.
        share: Of the busy time of its phase.
        bound: What it is bound by.
        floor_seconds: One execution at the plain roofline.
        flops, bytes_read, bytes_written, network_bytes: Of one execution on one device.
        formula: The closed form and its source.
    """

    name: str
    op: str
    family: str
    rate: str
    kernel: str
    count: float
    seconds: float
    total_seconds: float
    share: float
    bound: Bound
    floor_seconds: float
    flops: float
    bytes_read: float
    bytes_written: float
    network_bytes: float
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEstimate:
    """Prefill of the whole batch, or the mean decode step.

    Attributes:
        seconds: Time of the phase.
        bubble_seconds: Of it, waiting for other pipeline stages (mean device).
        host_seconds: Of it, waiting for the engine on the host.
        overlapped_seconds: Busy time of transfers and compute that ran at once.
        floor_seconds: Busy time at the plain roofline.
        mfu: Share of the matrix rate that is used, 0 to 1.
        mbu: Share of the memory bandwidth that is used, 0 to 1.
        flops: FLOPs of the mean device.
        bytes: Device-memory bytes of the mean device.
        network_bytes: Buffers that the mean device hands to collectives.
        bound: What most of the busy time is bound by.
        seconds_by_family: Busy seconds of the mean device.
        seconds_by_bound: Busy seconds of the mean device.
        rows: Every kernel and transfer, longest first.
    """

    seconds: float
    bubble_seconds: float
    host_seconds: float
    overlapped_seconds: float
    floor_seconds: float
    mfu: float
    mbu: float
    flops: float
    bytes: float
    network_bytes: float
    bound: Bound
    seconds_by_family: Mapping[str, float]
    seconds_by_bound: Mapping[str, float]
    rows: Sequence[RowEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """A change of the plan that would make it fit.

    Attributes:
        change: What to change, `plan.tp 8 -> 16`.
        demand_bytes: What one device would need then.
    """

    change: str
    demand_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An inequality that the plan violates.

    Attributes:
        what: The quantity.
        demand_bytes, limit_bytes, gap_bytes: `demand <= limit` fails by `gap`.
        levers: Changes that would satisfy it, each with its number.
    """

    what: str
    demand_bytes: float
    limit_bytes: float
    gap_bytes: float
    levers: Sequence[Lever]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Memory of the fullest device.

    Attributes:
        bytes_by_kind: weights, kv_cache, activations, communication, runtime.
        total_bytes: Their sum.
        capacity_bytes: What a device has.
    """

    bytes_by_kind: Mapping[str, float]
    total_bytes: float
    capacity_bytes: float

    @property
    def fits(self) -> bool:
        """Whether the demand is within the capacity."""
        return self.total_bytes <= self.capacity_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Shares of what the model does that have a price, 0 to 1."""

    ops: float
    flops: float
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What an estimate rests on.

    Attributes:
        version: Of this project.
        pipeline: The passes, as text.
        profile: Name of the hardware profile.
        profile_hash: Of the profile with all overrides.
        overrides: What-ifs on the profile.
        grades: Where the engine parameters of each family come from: datasheet, transferred or calibrated.
        lower_bound: Whether some op was let pass unpriced.
    """

    version: str
    pipeline: str
    profile: str
    profile_hash: str
    overrides: Sequence[str]
    grades: Mapping[str, str]
    lower_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How a model runs under one plan on one machine.

    Attributes:
        model: Its name.
        parameters: Of the whole model.
        device: For people, `NVIDIA H100 SXM5 80GB`.
        devices: How many.
        workload: What was asked.
        plan: How it is split, with every default filled in.
        ttft_s: Time to first token: one prefill of the whole batch.
        tpot_s: Mean time per output token after the first, over the whole output; None for a single output token.
        latency_s: Of a request.
        tokens_per_s: Output tokens of the whole batch over the latency.
        tokens_per_s_per_device: The same over all devices.
        prefill, decode: The two phases; decode is None for a single output token.
        memory: On the fullest device.
        violations: Why it does not fit; empty where it does.
        energy_j: Of the batch on all devices; None where the profile does not allow it.
        energy_per_token_j: Over the output tokens.
        usd_per_million_tokens: Rent per million output tokens; None where the profile has no price.
        coverage: What was priced.
        assumptions: Choices that nobody made, in words.
        provenance: What it rests on.
    """

    model: str
    parameters: int
    device: str
    devices: int
    workload: Workload
    plan: Plan
    ttft_s: float
    tpot_s: float | None
    latency_s: float
    tokens_per_s: float
    tokens_per_s_per_device: float
    prefill: PhaseEstimate
    decode: PhaseEstimate | None
    memory: MemoryEstimate
    violations: Sequence[Violation]
    energy_j: float | None
    energy_per_token_j: float | None
    usd_per_million_tokens: float | None
    coverage: Coverage
    assumptions: Sequence[str]
    provenance: Provenance

    @property
    def feasible(self) -> bool:
        """Whether it fits."""
        return not self.violations

    def to_dict(self) -> dict[str, object]:
        """Plain values only, as `--format json` prints them; units are in the names."""
        out = asdict(self)
        out["feasible"] = self.feasible
        memory = out["memory"]
        memory["fits"] = self.memory.fits
        return out

    def _repr_html_(self) -> str:
        from gambrel.estimation.html import estimate_html

        return estimate_html(self)
