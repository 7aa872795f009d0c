"""What an engine profile says: the schema, each field with its meaning and dimension, and the numbers that it becomes.

A step of a serving engine costs more than its kernels: the host prepares and launches it, samples, and streams tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from gambrel.hardware.profile import Field, Quantity, Source

Launch = Literal["graph", "eager"]
PrefillSteps = Literal["mixed", "separate"]
Writer = Literal["norm", "activation", "attention"]
STEP_TOKENS = 8192.0
"""Default of vLLM on devices with 70 GiB and more, of SGLang's chunks on 80 GB devices, and of TensorRT-LLM (2025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchModes:
    """How each phase launches its kernels."""

    prefill: Annotated[Launch, Field("`graph` replays a captured graph, `eager` launches each kernel from the host")]
    decode: Annotated[Launch, Field("`graph` replays a captured graph, `eager` launches each kernel from the host")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How prompts and decoding sequences share the steps of a continuous batch."""

    prefill: Annotated[
        PrefillSteps,
        Field("`mixed` puts prompt tokens into steps that decode as well, `separate` stops decoding for a prefill"),
    ]
    step_tokens: Annotated[Quantity, Field("Most tokens of one step, prompt and decode together", ("count",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One serving or inference engine, every number with its provenance."""

    schema: Annotated[Literal[1], Field("Version of this schema")]
    id: Annotated[str, Field("Name of the profile, and of its file without `.yaml`")]
    title: Annotated[str, Field("Name and version for people")]
    aliases: Annotated[tuple[str, ...], Field("Other spellings of the name")] = ()
    default_source: Annotated[str, Field("Source of this file's numbers that do not name one")] = ""
    launch: Annotated[LaunchModes, Field("How each phase launches its kernels")]
    kernel_launch: Annotated[Quantity, Field("Host time to launch one kernel eagerly", ("s",))]
    prefill_overhead: Annotated[Quantity, Field("Host time of a prefill during which the device waits", ("s",))]
    step_overhead: Annotated[Quantity, Field("Host time of a decode step during which the device waits", ("s",))]
    sequence_overhead: Annotated[
        Quantity, Field("Host time of a decode step for each sequence, during which the device waits", ("s",))
    ]
    runtime_memory: Annotated[Quantity, Field("Context, code, graphs and pools outside weights and caches", ("B",))]
    batching: Annotated[
        Batching | None, Field("How a continuous batch is scheduled; 8192 tokens in mixed steps where it is not said")
    ] = None
    libraries: Annotated[
        tuple[str, ...],
        Field("Libraries whose kernels run, as hardware profiles name them after an `@`, the preferred first"),
    ] = ()
    quantize_apart: Annotated[
        tuple[Writer, ...],
        Field("After which ops a kernel of its own quantises what a dense product reads: norm, activation, attention"),
    ] = ()
    norms_quantize: Annotated[
        tuple[str, ...], Field("Model types of configs whose norms quantise, where those of others do not")
    ] = ()
    sources: Annotated[Mapping[str, Source], Field("Sources by the key that numbers name")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOverheads:
    """An engine profile as plain numbers in SI units.

    Attributes:
        name: Of the profile.
        title: For people.
        prefill_launch_s, decode_launch_s: Host time for each kernel; 0 where graphs are replayed.
        prefill_overhead_s: Added to each prefill.
        step_overhead_s: Added to each decode step.
        sequence_overhead_s: Added to each decode step for each sequence of a replica.
        runtime_bytes: Memory of one device outside weights, caches, activations and buffers.
        mixes_prefill: Whether a step takes prompt tokens and decoding sequences together.
        step_tokens: Most tokens of one step.
        libraries: Whose kernels run, the preferred first; none in particular where empty.
        quantize_apart: After which ops a kernel of its own quantises what a dense product reads.
        norms_quantize: Model types whose norms quantise all the same.
    """

    name: str
    title: str
    prefill_launch_s: float
    decode_launch_s: float
    prefill_overhead_s: float
    step_overhead_s: float
    sequence_overhead_s: float
    runtime_bytes: float
    mixes_prefill: bool = True
    step_tokens: float = STEP_TOKENS
    libraries: tuple[str, ...] = ()
    quantize_apart: tuple[Writer, ...] = ()
    norms_quantize: tuple[str, ...] = ()

    def apart_for(self, model_type: str) -> tuple[Writer, ...]:
        """After which ops of a model kernels of their own quantise."""
        return tuple(each for each in self.quantize_apart if each != "norm" or model_type not in self.norms_quantize)


IDEAL = EngineOverheads(
    name="ideal",
    title="no engine: captured kernels back to back",
    prefill_launch_s=0.0,
    decode_launch_s=0.0,
    prefill_overhead_s=0.0,
    step_overhead_s=0.0,
    sequence_overhead_s=0.0,
    runtime_bytes=1.5e9,
)
"""No host time at all; 1.5 GB for context, code and captured graphs is assumed, as vLLM and TensorRT-LLM report 1 to 2
GB outside their own pools."""
