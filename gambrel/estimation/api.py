"""The Python API: load a model, compile it, estimate it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gambrel import __version__
from gambrel.cost.rates import rates_of, upcasts
from gambrel.estimation.build import coverage, grades, memory_estimate, phase_estimate
from gambrel.estimation.checks import check_plan
from gambrel.estimation.evaluate import Evaluation, evaluate
from gambrel.estimation.levers import violations
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import Resolved, is_moe, resolve
from gambrel.estimation.result import Estimate, Provenance
from gambrel.estimation.variant import Structure, Variant, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.frontends.parameters import count_parameters
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device
from gambrel.models import load_model
from gambrel.runtimes import IDEAL, EngineOverheads, load_engine

Model = str | Path | Architecture
Machine = str | Path | Device

ALWAYS_ASSUMED = ("all sequences have the same length; the whole batch is prefilled at once, then decoded together",)


def load(model: Model) -> Architecture:
    """A model by its library name, the path of a `config.json` (or its folder), or as it is.

    Raises:
        FrontendError: There is no such model, or its config is not understood.
    """
    return model if isinstance(model, Architecture) else load_model(model)


def machine(device: Machine, overrides: Iterable[str] = ()) -> Device:
    """A device by its profile's name or path, with what-ifs, or as it is.

    Raises:
        ProfileError: There is no such profile, or it or a what-if is wrong.
    """
    return device if isinstance(device, Device) else load_device(device, overrides, residuals=False)


def compile(  # noqa: PLR0913  (an entry point named as the command; keywords are optional)
    model: Model,
    on: Machine | None = None,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Variant:
    """The compiled variant that an estimate of this plan would use: its IR, cost table and memory table.

    Without a machine, number formats are as one uses them that multiplies all of them.

    Raises:
        GambrelError: As `estimate`.
    """
    architecture, structure = structure_of(
        model, on, plan=plan, workload=workload, devices=devices, overrides=overrides
    )
    return compile_variant(architecture, structure, allow_unpriced=allow_unpriced)


def structure_of(
    model: Model,
    on: Machine | None = None,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
) -> tuple[Architecture, Structure]:
    """What `compile` compiles: the model, and the choices that decide its IR.

    Raises:
        GambrelError: As `estimate`, apart from ops without a price.
    """
    architecture = load(model)
    device = None if on is None else machine(on, overrides)
    resolved = _resolve(architecture, device, workload or Workload(), plan or Plan(), devices)
    return architecture, resolved.structure


def estimate(  # noqa: PLR0913  (an entry point: all but the first two are by keyword and optional)
    model: Model,
    on: Machine,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Estimate:
    """How a model runs under one plan on one machine.

    Args:
        model: Library name, path of a config, or an Architecture.
        on: Profile name or path, or a Device.
        plan: How it is split and stored; one device in the published formats by default.
        workload: The batch; one sequence of 1024 + 128 tokens by default.
        devices: Devices to use; None: what the plan's degrees take.
        overrides: What-ifs on the profile, `memory.hbm.bandwidth=2x`.
        allow_unpriced: Let ops without a cost rule pass; the estimate is then a lower bound and says so.

    Raises:
        FrontendError: The model is not understood.
        ProfileError: The profile or a what-if is wrong.
        PlanError: The plan cannot run as asked; a plan that only lacks memory is answered, with its violation.
        UnpricedOpError: An op has no cost rule.
    """
    wanted = tuple(overrides)
    q = ask(
        model,
        on,
        plan=plan,
        workload=workload,
        devices=devices,
        overrides=wanted,
        allow_unpriced=allow_unpriced,
    )
    result = q.evaluate()
    memory = memory_estimate(result)
    tokens = q.workload.batch * q.workload.osl
    several = q.workload.osl > 1
    used = {row.rate for row in q.variant.program.table.rows if row.rate}
    unpriced = q.variant.program.table.unpriced
    return Estimate(
        model=q.architecture.name,
        parameters=count_parameters(q.architecture),
        device=q.device.title,
        devices=int(q.points.devices),
        workload=q.workload,
        plan=q.resolved.plan,
        ttft_s=float(result.ttft_s),
        tpot_s=float(result.tpot_s) if several else None,
        latency_s=float(result.latency_s),
        tokens_per_s=float(result.tokens_per_s),
        tokens_per_s_per_device=float(result.tokens_per_s_per_device),
        prefill=phase_estimate(result.prefill, q.device.engine),
        decode=phase_estimate(result.decode, q.device.engine) if several else None,
        memory=memory,
        violations=violations(q.architecture, q.device, q.workload, q.resolved.plan, memory),
        energy_j=_optional(result.energy_j),
        energy_per_token_j=_optional(result.energy_j, 1.0 / tokens),
        usd_per_million_tokens=_optional(result.usd, 1e6 / tokens),
        coverage=coverage(q.variant, result),
        assumptions=(
            *q.resolved.assumptions,
            *upcasts(q.device, used),
            *q.architecture.notes.remarks,
            *(f"{item} (not in the config)" for item in q.architecture.notes.defaulted),
            *(f"config key '{key}' was not understood and ignored" for key in q.architecture.notes.ignored_keys),
            *(f"{name} is not priced: the estimate is a lower bound" for name in unpriced),
            *(("experts are hit uniformly at random",) if is_moe(q.architecture) else ()),
            _engine_note(q.engine),
            "two halves of the batch take turns: transfers of one overlap compute of the other"
            if q.resolved.plan.sub_batches > 1
            else "transfers do not overlap with compute",
            *ALWAYS_ASSUMED,
        ),
        provenance=Provenance(
            version=__version__,
            pipeline=q.variant.pipeline,
            profile=q.device.name,
            profile_hash=q.device.profile_hash,
            overrides=wanted,
            grades=grades(q.device, q.variant),
            lower_bound=q.lower_bound,
        ),
    )


def _engine_note(engine: EngineOverheads) -> str:
    memory = f"{engine.runtime_bytes / 1e9:g} GB per device for context, code and graphs"
    if engine is IDEAL:
        return f"no engine: kernels run back to back without host time; {memory}"
    return f"engine {engine.title}; {memory}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about one plan on one machine with everything loaded, resolved, checked and compiled.

    Attributes:
        architecture: The model.
        device: The machine.
        workload: The batch.
        plan: As asked.
        devices: How many; None: what the degrees take.
        resolved: The plan with nothing left open.
        variant: What was compiled.
        engine: Its engine.
    """

    architecture: Architecture
    device: Device
    workload: Workload
    plan: Plan
    devices: int | None
    resolved: Resolved
    variant: Variant
    engine: EngineOverheads

    @property
    def lower_bound(self) -> bool:
        """Whether some op was let pass unpriced."""
        return bool(self.variant.program.table.unpriced)

    @property
    def points(self) -> Points:
        """The design point."""
        return self.resolved.points(self.workload)

    def evaluate(self, device: Device | None = None) -> Evaluation:
        """The estimate on this device, or on one with other numbers."""
        used = device or self.device
        return evaluate(self.variant, used, rates_of(used), self.points, self.engine)


def ask(  # noqa: PLR0913  (as `estimate`)
    model: Model,
    on: Machine,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Question:
    """Load, resolve, check and compile a question; arguments as those of `estimate`.

    Raises:
        GambrelError: As `estimate`.
    """
    architecture, device = load(model), machine(on, overrides)
    work, asked = workload or Workload(), plan or Plan()
    resolved = _resolve(architecture, device, work, asked, devices)
    return Question(
        architecture=architecture,
        device=device,
        workload=work,
        plan=asked,
        devices=devices,
        resolved=resolved,
        variant=compile_variant(architecture, resolved.structure, allow_unpriced=allow_unpriced),
        engine=load_engine(resolved.plan.engine),
    )


def _resolve(
    architecture: Architecture, device: Device | None, workload: Workload, plan: Plan, devices: int | None
) -> Resolved:
    """The plan with nothing left open, if it can run."""
    resolved = resolve(architecture, device, workload, plan, devices)
    check_plan(architecture, device, workload, resolved.plan, devices)
    return resolved


def _optional(value: np.typing.NDArray[np.float64] | None, factor: float = 1.0) -> float | None:
    return None if value is None else float(value) * factor
