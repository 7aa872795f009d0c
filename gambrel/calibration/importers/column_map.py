"""The column map of a CSV import: `m=M,latency_us=time_ms*1000,dtype='bf16'`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gambrel.errors import Problem, UsageError

_EXPRESSION = re.compile(
    r"""\s*(?:
        '(?P<text>[^']*)'
        | (?P<number>[-+]?[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?)
        | (?:"(?P<quoted>[^"]+)"|(?P<column>[^'"*/]+?)) \s*
          (?:(?P<operator>[*/])\s*(?P<factor>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?))?
    )\s*""",
    re.VERBOSE,
)
_PART = re.compile(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where the cells of a column come from.

    Attributes:
        column: A column of the file; empty for a constant.
        factor: What its numbers are multiplied with.
        constant: One value for all rows, as it was written.
        is_text: Whether the constant was quoted.
    """

    column: str = ""
    factor: float = 1.0
    constant: str = ""
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Columns of a table by name, and where each comes from.

    Attributes:
        cells: By the name of the column.
        text: The map as it was written.
    """

    cells: Mapping[str, Cell] = field(default_factory=dict[str, Cell])
    text: str = ""


def parse_map(text: str) -> ColumnMap:
    """Read a column map.

    `name=column`, `name=column*factor`, `name=column/factor`, `name='text'` or `name=number`, with commas between
    them. A column whose name has a comma, a quote, `*` or `/` in it, or that looks like a number, is written in double
    quotes.

    Raises:
        UsageError: A part is none of these, or a name comes twice; all of them at once.
    """
    cells: dict[str, Cell] = {}
    problems: list[Problem] = []
    for part in _PART.findall(text):
        name, equals, expression = part.partition("=")
        name = name.strip()
        cell = _cell(expression)
        if not part.strip():
            continue
        if not equals or not name or cell is None:
            problems.append(
                Problem(
                    where=f"--map {part.strip()}",
                    what="is not understood",
                    fix="Write name=column, name=column*factor, name='text' or name=number",
                )
            )
        elif name in cells:
            problems.append(Problem(where=f"--map {part.strip()}", what=f"maps {name} a second time"))
        else:
            cells[name] = cell
    if problems:
        raise UsageError(*problems)
    return ColumnMap(cells=cells, text=text)


def _cell(expression: str) -> Cell | None:
    match = _EXPRESSION.fullmatch(expression)
    if not match:
        return None
    if match["text"] is not None:
        return Cell(constant=match["text"], is_text=True)
    if match["number"] is not None:
        return Cell(constant=match["number"]) if _is_number(match["number"]) else None
    column = match["quoted"] or match["column"].strip()
    if match["operator"] is None:
        return Cell(column=column)
    if not _is_number(match["factor"]) or float(match["factor"]) == 0.0:
        return None
    factor = float(match["factor"])
    return Cell(column=column, factor=factor if match["operator"] == "*" else 1.0 / factor)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
