"""From a question, or a table of answers, to a report: everything that it shows is estimated here."""

from collections.abc import Mapping
from dataclasses import fields

from gambrel.estimation.api import estimate
from gambrel.estimation.details import intervals
from gambrel.estimation.points import Plan, Workload
from gambrel.estimation.table import Cell
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device
from gambrel.report.asked import Asked
from gambrel.report.live import live_fragment
from gambrel.report.page import Report
from gambrel.report.points import PlanPoints
from gambrel.search.sensitivity import MetricName, Sensitivity, sensitivity


def make_report(asked: Asked, points: PlanPoints | None = None, source: str = "") -> Report:
    """Estimate a plan with all that a report says of it.

    Args:
        asked: The plan to detail.
        points: The table that it is from; None for a single question.
        source: Where the table is from, in words.

    Raises:
        GambrelError: As `estimate`.
    """
    device = load_device(asked.on, asked.overrides)
    return Report(
        estimate=estimate(
            asked.model,
            device,
            plan=asked.plan,
            workload=asked.workload,
            devices=asked.devices,
            overrides=asked.overrides,
            allow_unpriced=asked.allow_unpriced,
        ),
        device=device,
        intervals=intervals(
            asked.model,
            device,
            plan=asked.plan,
            workload=asked.workload,
            devices=asked.devices,
            allow_unpriced=asked.allow_unpriced,
        ),
        sensitivities=_sensitivities(asked, device),
        points=points,
        source=source,
        live=live_fragment(asked),
    )


def _sensitivities(asked: Asked, device: Device) -> list[Sensitivity]:
    """Of both times, or of the one that there is; of a lower bound none."""
    metrics: tuple[MetricName, ...] = ("ttft", "tpot") if asked.workload.osl > 1 else ("ttft",)
    if asked.allow_unpriced:
        return []
    return [
        sensitivity(asked.model, device, metric, plan=asked.plan, workload=asked.workload, devices=asked.devices)
        for metric in metrics
    ]


def plan_of(cells: Mapping[str, Cell]) -> tuple[Workload, Plan]:
    """Workload and plan of a row of a table; what the row does not say takes its default."""

    def known(kind: type[Workload] | type[Plan]) -> dict[str, Cell]:
        return {f.name: cells[f.name] for f in fields(kind) if cells.get(f.name) is not None}

    return Workload(**known(Workload)), Plan(**known(Plan))  # pyright: ignore[reportArgumentType]  (by column)
