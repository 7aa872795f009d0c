"""What a hardware profile says: the schema as plain dataclasses, each field with its meaning and dimension.

The reader (`gambrel.hardware.read`) and the reference page are both made from these annotations. Maps are ordered:
levels of memory, links and host tiers stand inner to outer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from gambrel.hardware.device import Topology
from gambrel.units import DIMENSIONS, Dimension

Kind = Literal[
    "datasheet",
    "whitepaper",
    "vendor-doc",
    "derived",
    "measured",
    "fitted",
    "compiler-model",
    "estimated",
    "secondary",
    "from-memory",
    "assumed",
]
"""How a number came to be known."""

NumberFormat = Literal["bf16", "fp16", "fp8", "int8", "int4", "nvfp4", "mxfp4", "tf32", "fp32"]
"""Operand formats of the matrix units."""

Grade = Literal["transferred", "calibrated"]


@dataclass(frozen=True, slots=True)
class Field:
    """The meaning of a field and what its number measures (several dimensions where either fits; none for text)."""

    doc: str
    dimensions: tuple[Dimension, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit and provenance.

    Attributes:
        value: In the base unit of its dimension.
        dimension: That unit.
        text: As the profile writes it.
        source: A key of the profile's sources.
        kind: How it came to be known.
        note: A derivation, a condition or a conflict.
        date: When it was read or measured.
    """

    value: float
    dimension: Dimension
    text: str
    source: str
    kind: Kind
    note: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where numbers come from."""

    kind: Annotated[Kind, Field("Kind of the numbers that do not name one of their own")]
    ref: Annotated[str, Field("Public reference: document and section, or repository and commit")]
    date: Annotated[str, Field("Date of the document or of the reading")] = ""
    note: Annotated[str, Field("What to know about it")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One level of repeated hardware: SMs in a device, sub-cores in an SM."""

    count: Annotated[Quantity, Field("How many there are in one `per`", ("count",))]
    per: Annotated[str, Field("The unit that holds them; `device`, or another key of `units`")] = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The granule of a matrix unit, in elements."""

    m: Annotated[Quantity, Field("Rows of the left operand", ("count",))]
    n: Annotated[Quantity, Field("Columns of the right operand", ("count",))]
    k: Annotated[Quantity, Field("The contracted dimension", ("count",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRate:
    """Peak of the whole device in one number format."""

    dense: Annotated[Quantity, Field("Peak on dense operands", ("FLOP/s", "OP/s"))]
    sparse: Annotated[
        Quantity | None, Field("Peak on operands with structured sparsity (2:4), where it is sold", ("FLOP/s", "OP/s"))
    ] = None
    per_clock: Annotated[
        Quantity | None, Field("Dense operations that one `compute.unit` does in a clock", ("FLOP/clk", "OP/clk"))
    ] = None
    accumulate: Annotated[str, Field("Format of the accumulator at that peak")] = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRate:
    """FP32 arithmetic outside the matrix units."""

    rate: Annotated[Quantity, Field("Peak of the whole device in fp32, one FMA being 2 FLOP", ("FLOP/s",))]
    per_clock: Annotated[Quantity | None, Field("What one `compute.unit` does in a clock", ("FLOP/clk",))] = None
    clock: Annotated[str, Field("The key of `clocks` that the peak is quoted at; `compute.clock` where empty")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Peaks, and what they follow from."""

    unit: Annotated[str, Field("The key of `units` that a kernel's tiles are spread over")]
    clock: Annotated[str, Field("The key of `clocks` that the matrix peaks are quoted at")]
    matrix: Annotated[
        Mapping[NumberFormat, MatrixRate],
        Field("Matrix peaks by number format; a format that is missing is not supported"),
    ]
    vector: Annotated[VectorRate, Field("Arithmetic outside the matrix units")]
    shape: Annotated[Shape | None, Field("Granule of one matrix instruction or array")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLevel:
    """One level of memory."""

    role: Annotated[
        Literal["device", "cache", "scratchpad"],
        Field("`device` is the memory that holds the weights (exactly one); `cache` is managed by hardware"),
    ]
    capacity: Annotated[Quantity, Field("Of one instance", ("B",))]
    scope: Annotated[str, Field("What each instance belongs to: `device`, or a key of `units`")] = "device"
    tech: Annotated[str, Field("Such as HBM3e")] = ""
    usable: Annotated[Quantity | None, Field("What a program can allocate of one instance", ("B",))] = None
    bandwidth: Annotated[Quantity | None, Field("Peak of all instances together, in the whole device", ("B/s",))] = None
    latency: Annotated[Quantity | None, Field("Of one dependent load", ("s",))] = None
    energy: Annotated[Quantity | None, Field("To move one byte", ("J/B",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLevel:
    """One level of the network, as one device sees it."""

    size: Annotated[Quantity, Field("Devices in the domain, inner levels included", ("count",))]
    bandwidth: Annotated[Quantity, Field("Of one device, in one direction", ("B/s",))]
    latency: Annotated[Quantity, Field("Start-up time of one message", ("s",))]
    topology: Annotated[Topology, Field("How the devices of the domain are joined")]
    tech: Annotated[str, Field("Such as NVLink 4")] = ""
    in_network_reduction: Annotated[bool, Field("Whether the switch can reduce (NVLink SHARP)")] = False
    energy: Annotated[Quantity | None, Field("To move one byte", ("J/B",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTier:
    """Memory outside the device, that weights or KV cache can be offloaded to."""

    bandwidth: Annotated[Quantity, Field("Of one device, in one direction", ("B/s",))]
    capacity: Annotated[Quantity | None, Field("Share of one device", ("B",))] = None
    latency: Annotated[Quantity | None, Field("Of one transfer", ("s",))] = None
    tech: Annotated[str, Field("Such as DDR5 over PCIe 5.0 x16")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSection:
    """Power of one device and energy of its arithmetic."""

    tdp: Annotated[
        Quantity, Field("Default limit of the device or module, which measured parameters of engines contain", ("W",))
    ]
    idle: Annotated[Quantity | None, Field("With nothing running", ("W",))] = None
    static: Annotated[Quantity | None, Field("With clocks up, between kernels; taken as idle where absent", ("W",))] = (
        None
    )
    active: Annotated[
        Quantity | None,
        Field("Under any kernel, before its FLOPs and bytes count; taken as static where absent", ("W",)),
    ] = None
    cap: Annotated[
        Quantity | None, Field("A lower limit than `tdp`: the clock of the units falls until it is kept", ("W",))
    ] = None
    clock: Annotated[Quantity | None, Field("A clock that the units do not exceed (a locked clock)", ("Hz",))] = None
    voltage_floor: Annotated[
        Quantity | None,
        Field("f of `f + (1 - f) x`, the share of the nominal voltage at the share x of the nominal clock", ("count",)),
    ] = None
    all_in: Annotated[Quantity | None, Field("Share of the facility: host, network and cooling included", ("W",))] = (
        None
    )
    energy_per_flop: Annotated[
        Mapping[NumberFormat, Quantity],
        Field("Energy of one operation at the nominal clock, by number format", ("J/FLOP", "J/OP")),
    ] = field(default_factory=dict[NumberFormat, Quantity])


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one device costs."""

    rent: Annotated[Quantity | None, Field("Rented, per device", ("USD/h",))] = None
    owned: Annotated[Quantity | None, Field("Owned, amortised and with its power, per device", ("USD/h",))] = None
    capex: Annotated[Quantity | None, Field("To buy one device", ("USD",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRange:
    """The sizes that a fit saw."""

    least: Annotated[Quantity, Field("The smallest", ("count",))]
    most: Annotated[Quantity, Field("The largest", ("count",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """Bounds of measured over estimated time that 95 % of the calls keep, for short estimates and for longer ones."""

    small_lower: Annotated[Quantity, Field("Lower bound of estimates up to 30 us", ("count",))]
    small_upper: Annotated[Quantity, Field("Their upper bound", ("count",))]
    large_lower: Annotated[Quantity, Field("Lower bound of longer estimates", ("count",))]
    large_upper: Annotated[Quantity, Field("Their upper bound", ("count",))]
    sizes: Annotated[
        Mapping[str, SizeRange],
        Field("Sizes of the kernels that this was fitted on, by name; estimates outside them are marked and wider"),
    ] = field(default_factory=dict[str, SizeRange])


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One device and the network around it, every number with its provenance.

    The loader sets the last two fields:
        hash: First 12 hex digits of the SHA-256 of the merged profile with all overrides.
        parameter_grades: By op family of `parameters`: `calibrated` where the profile's own file gives a measured or
            fitted value, `transferred` where all come from a base.
    """

    schema: Annotated[Literal[1], Field("Version of this schema")]
    id: Annotated[str, Field("Name of the profile, and of its file without `.yaml`")]
    title: Annotated[str, Field("Name for people, such as NVIDIA H100 SXM5 80GB")]
    vendor: Annotated[str, Field("Who makes it")]
    kind: Annotated[Literal["gpu", "tpu", "npu", "cpu", "fpga", "pim"], Field("What it is")]
    generation: Annotated[str, Field("Family that shares engine parameters, such as hopper")]
    engine: Annotated[Literal["gpu", "cpu", "roofline"], Field("Which engine prices it")]
    year: Annotated[int, Field("When it shipped or will")]
    status: Annotated[Literal["shipping", "announced", "retired", "hypothetical"], Field("Whether it can be had")] = (
        "shipping"
    )
    aliases: Annotated[tuple[str, ...], Field("Other spellings of the name that `--on` accepts")] = ()
    extends: Annotated[tuple[str, ...], Field("Profiles that this one starts from, by name or path")] = ()
    abstract: Annotated[bool, Field("Whether it is only a base for others and may be incomplete")] = False
    default_source: Annotated[str, Field("Source of this file's numbers that do not name one")] = ""
    clocks: Annotated[Mapping[str, Quantity], Field("Clocks by name", ("Hz",))]
    units: Annotated[Mapping[str, Unit], Field("Repeated hardware by name")]
    compute: Annotated[Compute, Field("Arithmetic")]
    memory: Annotated[Mapping[str, MemoryLevel], Field("Memory levels by name, inner to outer")]
    links: Annotated[Mapping[str, LinkLevel], Field("Network levels by name, inner to outer")] = field(
        default_factory=dict[str, LinkLevel]
    )
    host: Annotated[Mapping[str, HostTier], Field("Memory outside the device by name, nearest first")] = field(
        default_factory=dict[str, HostTier]
    )
    power: Annotated[PowerSection, Field("Power and energy")]
    price: Annotated[Price, Field("Price")] = field(default_factory=Price)
    limits: Annotated[Mapping[str, Quantity], Field("Limits that generated code must keep, by name", DIMENSIONS)] = (
        field(default_factory=dict[str, Quantity])
    )
    parameters: Annotated[
        Mapping[str, Mapping[str, Quantity]], Field("Parameters of the cost engine by op family and name", DIMENSIONS)
    ] = field(default_factory=dict[str, Mapping[str, Quantity]])
    uncertainty: Annotated[
        Mapping[str, Residuals], Field("How far measured times lie from estimates, by op family as in `parameters`")
    ] = field(default_factory=dict[str, Residuals])
    sources: Annotated[Mapping[str, Source], Field("Sources by the key that numbers name")]
    hash: str = ""
    parameter_grades: Mapping[str, Grade] = field(default_factory=dict[str, Grade])


def count_in_device(profile: Profile, unit: str) -> float:
    """How many of a unit one device holds; `device` is one."""
    total = 1.0
    seen: set[str] = set()
    while unit in profile.units and unit not in seen:
        seen.add(unit)
        total *= profile.units[unit].count.value
        unit = profile.units[unit].per
    return total
