"""One question in full, as reports and pages are made of it."""

from dataclasses import dataclass

from gambrel.estimation.points import Plan, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question in full.

    Attributes:
        model: Library name or path.
        on: Profile name or path.
        workload: The batch.
        plan: How the model is split and stored.
        devices: How many; None: what the plan takes.
        overrides: What-ifs on the profile.
        allow_unpriced: Whether ops without a cost rule may pass.
    """

    model: str
    on: str
    workload: Workload
    plan: Plan
    devices: int | None = None
    overrides: tuple[str, ...] = ()
    allow_unpriced: bool = False
