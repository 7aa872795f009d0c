"""The rows and columns of the table of plans, as the script of a page reads them."""

from typing import NamedTuple

from gambrel.estimation.table import Cell
from gambrel.report.points import SHOWN_ANSWERS, PlanPoints, PlanRow


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        name: Of the column.
        title: For people.
        unit: How its cells are shown: a unit, or `text`.
        filter: `pick` one of its values, give the `most`, or none.
        scale: What the reader's number is multiplied by.
        scale_unit: The unit that the reader's number is in.
    """

    name: str
    title: str
    unit: str
    filter: str = ""
    scale: float = 1.0
    scale_unit: str = ""


LIMITS = {
    "ttft_s": ("most", 1e-3, "ms"),
    "tpot_s": ("most", 1e-3, "ms"),
    "usd_per_million_tokens": ("most", 1.0, "USD"),
}
"""Answers that readers have limits for: `filter`, `scale` and `scale_unit` of their columns."""


def plan_data(points: PlanPoints) -> dict[str, object]:
    """Columns and rows; numbers are those of the plans."""
    columns = _columns(points)
    return {
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "unit": column.unit,
                "filter": column.filter,
                "scale": column.scale,
                "scaleUnit": column.scale_unit,
            }
            for column in columns
        ],
        "rows": [
            {
                "number": row.number,
                "fits": row.fits,
                "front": row.on_front,
                "cells": [_cell(row, column.name) for column in columns],
            }
            for row in points.rows
        ],
        "detailed": points.detailed,
    }


def _columns(points: PlanPoints) -> list[Column]:
    first = points.rows[0].cells
    asked = [
        Column(name, name.replace("_", " "), "text" if isinstance(first[name], str | None) else "count", "pick")
        for name in points.varied
    ]
    answers = [
        Column(name, title, unit, *LIMITS.get(name, ("", 1.0, "")))
        for name, (title, unit) in SHOWN_ANSWERS.items()
        if any(row.cells.get(name) is not None for row in points.rows)
    ]
    return [Column("number", "plan", "count"), *asked, *answers, Column("status", "status", "text")]


def _cell(row: PlanRow, name: str) -> Cell:
    return row.number if name == "number" else row.cells[name]
