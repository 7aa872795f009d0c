"""From a plan to what is compiled (a Structure) and what is a number (Points), with every default named."""

import math
from dataclasses import dataclass, replace

import numpy as np

from gambrel.cost.rates import resolve_rate
from gambrel.cost.vectorise import Array
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import DEGREES, LENGTHS, Plan, Points, Workload
from gambrel.estimation.variant import Structure
from gambrel.frontends.architecture import Architecture, MoE
from gambrel.hardware.device import Device
from gambrel.ir.formats import FORMATS, NUMERIC_FORMATS
from gambrel.passes.quantize import check_format
from gambrel.passes.shard import find_strategy
from gambrel.runtimes import load_engine

ACTIVATIONS = {"fp8": "fp8", "fp8_block": "fp8", "int8": "int8", "nvfp4": "nvfp4"}
"""Format in which activations enter products with weights of a format, where the device multiplies both; the other
narrow formats are weight-only: their weights are widened on the way in (vLLM and TensorRT-LLM, 2026)."""

PLAIN_FORMATS = ("bf16", "fp16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A plan with nothing left open.

    Attributes:
        plan: All degrees and formats given; formats that stay as the base format are None.
        structure: What has to be compiled.
        assumptions: A sentence for each choice that nobody made.
    """

    plan: Plan
    structure: Structure
    assumptions: tuple[str, ...]

    def points(self, workload: Workload) -> Points:
        """The one design point of a workload."""
        return Points.of(**{name: float(getattr(workload, name)) for name in LENGTHS}, **plan_numbers(self.plan))


def plan_numbers(plan: Plan) -> dict[str, float]:
    """The numbers of a plan, as the columns of Points have them; what is open counts as one, or as whole."""
    return {
        **{name: float(getattr(plan, name) or 1) for name in DEGREES},
        "prefill_chunk": float(plan.prefill_chunk or math.inf),
        "placement": float(PLACEMENTS.index(plan.placement or PLACEMENTS[0])),
    }


def open_microbatches(pp: Array, dp: Array, batch: Array) -> dict[str, Array]:
    """Microbatches in prefill and in decode where a plan leaves them open; numbers may be arrays.

    As many as the stages, in a prefill four times as many (see Plan), and at most the sequences of a replica; the
    prefill of a single stage is not cut.
    """
    replica = np.maximum(np.ceil(batch / dp), 1.0)
    prefill = np.where(pp > 1.0, np.minimum(4.0 * pp, replica), 1.0)
    return {"prefill_microbatches": prefill, "microbatches": np.minimum(pp, replica)}


def resolve(
    architecture: Architecture, device: Device | None, workload: Workload, plan: Plan, devices: int | None
) -> Resolved:
    """Fill in what a plan leaves open.

    Args:
        architecture: The model.
        device: The machine, which decides whether activations can be narrow; None: one that multiplies every format.
        workload: The batch, which bounds the number of microbatches.
        plan: What was asked.
        devices: Devices to use; None: as many as the plan's degrees take.

    Raises:
        PlanError: The strategy or a number format is unknown.
    """
    notes: list[str] = []
    inner = plan.tp * plan.pp * plan.cp
    dp = plan.dp if plan.dp is not None else max((devices or inner) // inner, 1)
    if plan.dp is None and dp > 1:
        notes.append(f"dp = {dp}: what the other degrees leave of {devices} devices")
    strategy = plan.strategy or _strategy(architecture, plan, dp)
    find_strategy(strategy)
    if plan.strategy is None and (plan.ep or 1) > 1:
        notes.append(f"strategy {strategy}: chosen from the degrees")
    spread = {"moe-ep": plan.tp, "attention-dp-moe-ep": dp * plan.cp * plan.tp}.get(strategy, 1)
    ep = plan.ep if plan.ep is not None else spread if is_moe(architecture) else 1
    parts = open_microbatches(*(np.asarray(float(number)) for number in (plan.pp, dp, workload.batch)))
    microbatches = plan.microbatches or int(parts["microbatches"])
    prefill_microbatches = plan.prefill_microbatches or int(parts["prefill_microbatches"])
    if plan.pp > 1:
        notes.append(f"{prefill_microbatches} microbatches in prefill, {microbatches} in decode, over {plan.pp} stages")
    structure, format_notes = _structure(architecture, device, plan, strategy)
    degrees = {"tp": plan.tp, "pp": plan.pp, "dp": dp, "cp": plan.cp}
    axes = tuple(axis for axis, degree in degrees.items() if degree > 1) + _expert_axes(strategy, plan, dp, ep)
    full = Plan(
        strategy=strategy,
        tp=plan.tp,
        pp=plan.pp,
        dp=dp,
        cp=plan.cp,
        ep=ep,
        prefill_microbatches=prefill_microbatches,
        microbatches=microbatches,
        sub_batches=plan.sub_batches,
        prefill_chunk=plan.prefill_chunk,
        placement=plan.placement,
        weights=structure.weights,
        experts=structure.experts,
        activations=structure.activations,
        kv=structure.kv,
        engine=plan.engine,
    )
    return Resolved(plan=full, structure=replace(structure, axes=axes), assumptions=(*notes, *format_notes))


def is_moe(architecture: Architecture) -> bool:
    """Whether some layer has routed experts."""
    return any(isinstance(layer.ffn, MoE) for _, layer in architecture.counted_layers())


def _strategy(architecture: Architecture, plan: Plan, dp: int) -> str:
    ep = plan.ep or 1
    if ep == 1 or not is_moe(architecture):
        return "megatron"
    return "moe-ep" if ep <= plan.tp and dp * plan.cp == 1 else "attention-dp-moe-ep"


def _expert_axes(strategy: str, plan: Plan, dp: int, ep: int) -> tuple[str, ...]:
    if strategy == "moe-ep":
        inner = min(ep, plan.tp)
        return tuple(axis for axis, n in (("tp_ep", inner), ("tp_etp", -(-plan.tp // inner))) if n > 1)
    if strategy == "attention-dp-moe-ep":
        copies = dp * plan.cp * plan.tp // ep
        return tuple(axis for axis, n in (("ep", ep * copies), ("edp", copies)) if n > 1)
    return ()


def _structure(
    architecture: Architecture, device: Device | None, plan: Plan, strategy: str
) -> tuple[Structure, list[str]]:
    notes: list[str] = []
    base = architecture.dtype if architecture.dtype in PLAIN_FORMATS else "bf16"
    if architecture.dtype != base:
        notes.append(f"served in {base}: the published dtype is {architecture.dtype or 'not stated'}")
    for option in ("weights", "experts", "activations", "kv"):
        check_format(option, getattr(plan, option))
    weights, experts = plan.weights, plan.experts
    if weights is None and experts is None:
        weights, experts, note = _published(architecture)
        notes += note
    activations = plan.activations
    if activations is None:
        activations, note = _activations(device, weights or experts)
        notes += note

    def kept(name: str | None) -> str | None:
        return name if name != base else None

    structure = Structure(
        strategy=strategy,
        format=base,
        weights=kept(weights),
        experts=kept(experts),
        activations=kept(activations),
        kv=kept(plan.kv),
        quantize_apart=() if activations is None else load_engine(plan.engine).apart_for(architecture.model_type),
    )
    return structure, notes


def _published(architecture: Architecture) -> tuple[str | None, str | None, list[str]]:
    """Formats of weights and experts as the checkpoint stores them."""
    quantization = architecture.quantization
    if quantization is None:
        return None, None, []
    name = quantization.weight_dtype
    if name is None or name not in NUMERIC_FORMATS:
        note = f"the published quantisation '{quantization.method}' is not modelled: weights are taken as unquantised"
        return None, None, [note]
    if name == "fp8" and quantization.block is not None and min(quantization.block) > 1:
        name = "fp8_block"
    experts_only = any("attn" in pattern for pattern in quantization.excluded)
    note = f"{'expert weights' if experts_only else 'weights'} in {name}, as published"
    return (None, name, [note]) if experts_only else (name, None, [note])


def _activations(device: Device | None, weights: str | None) -> tuple[str | None, list[str]]:
    wanted = ACTIVATIONS.get(weights or "")
    if wanted is None:
        return None, []
    if device is not None and resolve_rate(device, FORMATS[wanted].rate) != FORMATS[wanted].rate:
        return None, [f"{device.name} does not multiply {wanted}: {weights} weights are widened, activations stay wide"]
    return wanted, [f"activations in {wanted} where weights are {weights}"]
