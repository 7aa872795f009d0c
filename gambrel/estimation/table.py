"""Many questions at once: the product of lists of plan and workload values as one table."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import product
from typing import TYPE_CHECKING, cast

from gambrel.cost.rates import rates_of
from gambrel.errors import PlanError, Problem, did_you_mean
from gambrel.estimation.api import Machine, Model, load, machine
from gambrel.estimation.checks import check_plan
from gambrel.estimation.metrics import metrics
from gambrel.estimation.points import DEGREES, LENGTHS, Plan, Points, Workload
from gambrel.estimation.resolve import Resolved, resolve
from gambrel.estimation.variant import Structure, Variant, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.hardware.device import Device
from gambrel.runtimes import EngineOverheads, load_engine

if TYPE_CHECKING:
    import pandas  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

Cell = int | float | str | bool | None

FORMAT_OPTIONS = ("weights", "experts", "activations", "kv")
QUESTION_COLUMNS = (*LENGTHS, "strategy", *DEGREES, "prefill_chunk", "placement", *FORMAT_OPTIONS, "engine")
"""What a table may vary."""

ANSWER_COLUMNS = (
    "devices",
    "status",
    "ttft_s",
    "tpot_s",
    "latency_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "prefill_mfu",
    "decode_mbu",
    "memory_bytes",
    "fits",
    "energy_per_token_j",
    "usd_per_million_tokens",
)
"""What a table answers; `status` is `ok`, `does not fit`, or why the plan cannot run."""


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
    architecture, device = load(model), machine(on, tuple(overrides))
    points = [_question(dict(zip(columns, values, strict=True))) for values in product(*columns.values())]
    asked = [_resolve(architecture, device, workload, plan, devices) for workload, plan in points]
    out: dict[str, list[Cell]] = {name: [None] * len(points) for name in (*QUESTION_COLUMNS, *ANSWER_COLUMNS)}
    groups: dict[tuple[Structure, str], list[int]] = {}
    for number, ((workload, plan), answer) in enumerate(zip(points, asked, strict=True)):
        _write_question(out, number, workload, plan, answer.plan if isinstance(answer, Resolved) else plan)
        if isinstance(answer, Resolved):
            groups.setdefault((answer.structure, answer.plan.engine), []).append(number)
        else:
            out["status"][number] = answer
    for (structure, engine), numbers in groups.items():
        variant = compile_variant(architecture, structure, allow_unpriced=allow_unpriced)
        each = [cast(Resolved, asked[n]).points(points[n][0]) for n in numbers]
        for name, values in _answers(variant, device, each, load_engine(engine)).items():
            for number, value in zip(numbers, values, strict=True):
                out[name][number] = value
    return EstimateTable(columns=out)


def _check_columns(columns: Mapping[str, Sequence[Cell]]) -> None:
    problems: list[Problem] = []
    for name, values in columns.items():
        if name not in QUESTION_COLUMNS:
            problems.append(Problem(where=name, what="unknown column", fix=did_you_mean(name, QUESTION_COLUMNS)))
        elif not values:
            problems.append(Problem(where=name, what="no values", fix="Give at least one"))
    if problems:
        raise PlanError(*problems)


def _question(values: Mapping[str, Cell]) -> tuple[Workload, Plan]:
    lengths = {name: value for name, value in values.items() if name in LENGTHS and value is not None}
    rest = {name: value for name, value in values.items() if name not in LENGTHS}
    return replace(Workload(), **lengths), replace(Plan(), **rest)


def _resolve(
    architecture: Architecture, device: Device, workload: Workload, plan: Plan, devices: int | None
) -> Resolved | str:
    """The resolved plan, or why it cannot run."""
    try:
        resolved = resolve(architecture, device, workload, plan, devices)
        check_plan(architecture, device, workload, resolved.plan, devices)
    except PlanError as error:
        return "; ".join(f"{problem.where}: {problem.what}" for problem in error.problems)
    return resolved


def _write_question(out: dict[str, list[Cell]], number: int, workload: Workload, plan: Plan, full: Plan) -> None:
    for name in QUESTION_COLUMNS:
        # As asked where that says it: the full plan is silent about formats that are the plain one.
        asked = getattr(workload if name in LENGTHS else plan, name)
        out[name][number] = getattr(full, name) if asked is None else asked


def _answers(
    variant: Variant, device: Device, each: Sequence[Points], engine: EngineOverheads
) -> dict[str, list[Cell]]:
    points = Points.stack(each)
    values = metrics(variant, device, rates_of(device), points, engine)
    fits = values["memory_bytes"] <= device.memory_bytes
    out: dict[str, list[Cell]] = {
        name: [None if math.isnan(value) else value for value in column.tolist()] for name, column in values.items()
    }
    out["devices"] = [int(value) for value in points.devices.tolist()]
    out["fits"] = [bool(value) for value in fits.tolist()]
    out["status"] = ["ok" if value else "does not fit" for value in out["fits"]]
    return out


def _text(value: Cell) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
