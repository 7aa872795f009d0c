"""A question about one plan on one machine, ready to be evaluated again with other numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from gambrel.codegen.estimate import results
from gambrel.cost.rates import rates_of
from gambrel.cost.vectorise import Array
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.checks import check_plan
from gambrel.estimation.evaluate import Evaluation, evaluate
from gambrel.estimation.points import Plan, Points, Workload
from gambrel.estimation.resolve import Resolved, resolve
from gambrel.estimation.variant import Variant, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.runtimes import EngineOverheads, load_engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with everything loaded, resolved, checked and compiled.

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

    def results(self, device: Device | None = None) -> dict[str, Array]:
        """Every number of the estimate by its path."""
        return results(self.evaluate(device), self.points)


def ask(  # noqa: PLR0913  (as `estimate`)
    model: Model,
    on: Machine,
    *,
    plan: Plan | None = None,
    workload: Workload | None = None,
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> Asked:
    """Load, resolve, check and compile a question; arguments as those of `estimate`.

    Raises:
        GambrelError: As `estimate`.
    """
    architecture, device = load(model), machine(on, tuple(overrides))
    work, asked = workload or Workload(), plan or Plan()
    resolved = resolve(architecture, device, work, asked, devices)
    check_plan(architecture, device, work, resolved.plan, devices)
    return Asked(
        architecture=architecture,
        device=device,
        workload=work,
        plan=asked,
        devices=devices,
        resolved=resolved,
        variant=compile_variant(architecture, resolved.structure, allow_unpriced=allow_unpriced),
        engine=load_engine(resolved.plan.engine),
    )
