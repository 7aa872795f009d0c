"""The cost table of a compiled variant: as text for people, as records for programs."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from gambrel.cost.extract import CostTable
from gambrel.cost.rows import Row
from gambrel.estimation.build import kernel_text
from gambrel.estimation.variant import Variant
from gambrel.report.blocks import grid, heading
from gambrel.report.text import pipeline_text

_SYMBOLS = (
    "b sequences of one microbatch, s prompt tokens, c cached tokens, tp pp dp cp ep the sizes of the mesh axes; "
    "FLOPs and bytes of one execution on one device"
)


def row_records(table: CostTable) -> list[dict[str, str | int]]:
    """Every row with its sizes as expressions; `repetitions` is how often its segment repeats."""
    return [
        {
            "phase": row.phase,
            "segment": row.segment,
            "repetitions": _repetitions(table, row),
            "place": row.place,
            "name": row.name,
            "op": row.op,
            "family": row.family,
            "count": str(row.count),
            "kernel": kernel_text(row),
            "rate": row.rate,
            "flops": str(row.flops),
            "bytes_read": str(row.bytes_read),
            "bytes_written": str(row.bytes_written),
            "weight_bytes": str(row.weight_bytes),
            "network_bytes": str(row.network_bytes),
            "formula": row.formula,
        }
        for row in table.rows
    ]


def rows_report(variant: Variant) -> list[RenderableType]:
    """Every row, in the order of execution, its sizes as expressions."""
    table = variant.program.table
    parts: list[RenderableType] = [
        Text(f"{variant.architecture.name}: {len(table.rows)} rows; {pipeline_text(variant.pipeline)}"),
        Text(_SYMBOLS, style="dim"),
    ]
    for (phase, segment), rows in groupby(table.rows, key=lambda row: (row.phase, row.segment)):
        group = list(rows)
        layers = f", {segment}, {_repetitions(table, group[0])} times" if segment else ""
        parts.append(heading(f"{phase}{layers}"))
        for row in group:
            parts += _row(row)
    return parts


def _row(row: Row) -> Iterator[RenderableType]:
    times = "" if row.count.constant == 1 else f", {row.count} times"
    yield Text(row.name, style="bold").append(f"  {row.family}{times}", style="not bold cyan")
    sizes = [
        ("FLOPs", row.flops),
        ("read", row.bytes_read),
        ("weights", row.weight_bytes),
        ("written", row.bytes_written),
        ("sent", row.network_bytes),
    ]
    cells = [(name, str(value)) for name, value in sizes if value.constant != 0]
    yield Padding(grid([("kernel", kernel_text(row)), *cells]), (0, 0, 0, 3))


def _repetitions(table: CostTable, row: Row) -> int:
    return next((segment.repetitions for segment in table.segments if segment.label == row.segment), 1)
