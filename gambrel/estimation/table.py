"""Many questions at once: the product of lists of plan and workload values as one table."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gambrel.cost.vectorise import Array
from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.many import COUNTS, FLAGS, QUESTION_COLUMNS, Asked, Scalar, Setting, Words, answer, counts
from gambrel.estimation.points import LENGTHS, Plan, Workload

if TYPE_CHECKING:
    import pandas  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

Cell = int | float | str | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateTable:
    """Estimates of many points, column by column, in the order of the product of the lists.

    Attributes:
        columns: QUESTION_COLUMNS (with defaults filled in) and ANSWER_COLUMNS; None where a plan cannot run.
    """

    columns: Mapping[str, Sequence[Cell]]

    def __len__(self) -> int:
        return len(self.columns["status"])

    def rows(self) -> Iterator[dict[str, Cell]]:
        """One record a point."""
        names = tuple(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))

    def to_dict(self) -> dict[str, list[Cell]]:
        """Plain lists by column."""
        return {name: list(values) for name, values in self.columns.items()}

    def to_arrow(self) -> "pyarrow.Table":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """An Arrow table.

        Raises:
            ImportError: pyarrow is not installed (`pip install gambrel[arrow]`).
        """
        import pyarrow  # pyright: ignore[reportMissingTypeStubs]

        return pyarrow.table(self.to_dict())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame.

        Raises:
            ImportError: pandas is not installed (`pip install gambrel[pandas]`).
        """
        import pandas  # pyright: ignore[reportMissingTypeStubs]

        return pandas.DataFrame(self.to_dict())

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row.values()) + "</tr>"
            for row in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def estimate_table(
    model: Model,
    on: Machine,
    *,
    columns: Mapping[str, Sequence[Cell]],
    devices: int | None = None,
    overrides: Iterable[str] = (),
    allow_unpriced: bool = False,
) -> EstimateTable:
    """Estimate every combination of the listed values.

    Points with the same structure (strategy, formats, axes in use) are evaluated together as arrays.

    Args:
        model: As in `estimate`.
        on: As in `estimate`.
        columns: Values by name, names from QUESTION_COLUMNS; what is not named takes its default.
        devices: Devices to use; None: what the degrees of each point take.
        overrides: What-ifs on the profile.
        allow_unpriced: As in `estimate`.

    Raises:
        GambrelError: A column is unknown or empty, or the model or the profile is wrong. A point that cannot run has
            the reason as its status instead.
    """
    _check_columns(columns)
    architecture, machine_asked = load(model), machine(on, tuple(overrides))
    plans = {name: values for name, values in columns.items() if name not in LENGTHS}
    lengths = {name: values for name, values in columns.items() if name in LENGTHS}
    settings = [
        Setting(device=machine_asked, devices=devices, plan=replace(Plan(), **dict(zip(plans, values, strict=True))))
        for values in product(*plans.values())
    ]
    asked = Asked(settings=settings, setting=np.arange(len(settings)), lengths=_axes(lengths))
    answers = answer(architecture, asked, allow_unpriced=allow_unpriced)
    # Settings lie along the first axis and lengths along the others; the rows go as the lists were given.
    axes = [*plans, *lengths]
    shape = [len(columns[name]) for name in axes]
    order = [axes.index(name) for name in columns]

    def flat(values: NDArray[Scalar]) -> NDArray[Scalar]:
        return np.broadcast_to(values, answers.shape).reshape(shape).transpose(order).ravel()

    return EstimateTable(columns={name: _cells(name, column, flat) for name, column in answers.columns.items()})


def _axes(lengths: Mapping[str, Sequence[Cell]]) -> dict[str, Array]:
    """Each length along an axis of its own behind the first; what is not named is its default."""
    whole = Workload()
    out: dict[str, Array] = {}
    for name in LENGTHS:
        default = getattr(whole, name)
        given = [default if value is None else value for value in lengths.get(name, (default,))]
        layout = [1] * (1 + len(lengths))
        if name in lengths:
            layout[1 + list(lengths).index(name)] = len(given)
        out[name] = counts(name, given).reshape(layout)
    return out


def _cells(name: str, column: Array | Words, flat: Callable[[NDArray[Any]], NDArray[Any]]) -> list[Cell]:
    if isinstance(column, Words):
        values: list[Cell] = [*column.values, None]  # a code of -1 is the last
        return [values[code] for code in flat(column.codes).tolist()]
    kind = int if name in COUNTS else bool if name in FLAGS else float
    return [None if math.isnan(value) else kind(value) for value in flat(column).tolist()]


def _check_columns(columns: Mapping[str, Sequence[Cell]]) -> None:
    problems: list[Problem] = []
    for name, values in columns.items():
        if name not in QUESTION_COLUMNS:
            problems.append(Problem(where=name, what="unknown column", fix=did_you_mean(name, QUESTION_COLUMNS)))
        elif not values:
            problems.append(Problem(where=name, what="no values", fix="Give at least one"))
    if problems:
        raise PlanError(*problems)


def _text(value: Cell) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
