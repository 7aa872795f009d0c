"""The options that ask a question (which machine, batch and plan), shared by the commands that answer one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

from cyclopts import Parameter

from gambrel.cli.ranges import MOST_POINTS, parse_count, parse_counts, parse_names
from gambrel.errors import PlanError, Problem
from gambrel.estimation.placement import PLACEMENTS
from gambrel.estimation.points import LENGTHS, Plan, Workload
from gambrel.ir.formats import NUMERIC_FORMATS
from gambrel.passes.strategies import STRATEGIES

Counts = Annotated[str | None, Parameter(allow_leading_hyphen=True, show_default=False)]
"""A list or range of whole numbers, read by `ranges`: a negative number is then its error, not an unknown option."""

Names = Annotated[str | None, Parameter(show_default=False)]

Repeated = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]

Cell = int | str | None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """The batch.

    Attributes:
        batch: Sequences that are served together, over all replicas [default: 1].
        isl: Prompt tokens of each sequence [default: 1024].
        osl: Output tokens of each sequence [default: 128].
        prefix: Tokens of each sequence that are cached already [default: 0].
    """

    batch: Counts = None
    isl: Counts = None
    osl: Counts = None
    prefix: Counts = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How the model is split and stored.

    Attributes:
        tp: Tensor-parallel degree [default: 1].
        pp: Pipeline stages [default: 1].
        dp: Data-parallel replicas [default: what is left of the devices].
        cp: Context-parallel degree [default: 1].
        ep: Devices that share one copy of the experts [default: as the strategy spreads them].
        prefill_microbatches: Parts of the batch that follow each other through the stages in a prefill
            [default: four times the stages].
        microbatches: The same in decode [default: as many as stages].
        sub_batches: 2 lets two halves of the batch take turns, so that transfers overlap compute [default: 1].
        prefill_chunk: Most tokens of a sequence in one pass of a prefill [default: whole prompts].
        placement: How ranks are laid out, the axis of neighbouring devices first [default: tp-cp-dp-pp].
        strategy: A sharding strategy, such as megatron or attention-dp-moe-ep [default: from the degrees].
        weights: Number format of the weights, such as fp8 [default: as published].
        experts: Number format of the experts' weights.
        activations: Number format of the activations that enter products.
        kv: Number format of the cache.
        engine: The serving software, for its host times and its kernels: vllm, a YAML file, ... [default: ideal, none].
    """

    tp: Counts = None
    pp: Counts = None
    dp: Counts = None
    cp: Counts = None
    ep: Counts = None
    prefill_microbatches: Counts = None
    microbatches: Counts = None
    sub_batches: Counts = None
    prefill_chunk: Counts = None
    placement: Names = None
    strategy: Names = None
    weights: Names = None
    experts: Names = None
    activations: Names = None
    kv: Names = None
    engine: Names = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedWorkload(WorkloadOptions):
    """Lengths of the requests, and batches to choose from.

    Attributes:
        batch: Sequences that are served together, over all replicas [default: 1 to 1024 a replica are tried].
        isl: Prompt tokens of each sequence [default: 1024].
        osl: Output tokens of each sequence [default: 128].
        prefix: Tokens of each sequence that are cached already [default: 0].
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedPlan(PlanOptions):
    """Choices of a search; a list is searched, and what is not given is open.

    Attributes:
        tp: Tensor-parallel degrees to try [default: every divisor of the devices].
        pp: Pipeline stages to try [default: every divisor].
        dp: Data-parallel replicas to try [default: every divisor].
        cp: Context-parallel degrees to try [default: every divisor].
        ep: Devices that share one copy of the experts [default: all that the strategy can spread them over].
        prefill_microbatches: Parts of the batch that follow each other through the stages in a prefill
            [default: 1, 2 and 4 times the stages].
        microbatches: The same in decode [default: once and twice the stages].
        sub_batches: 2 lets two halves of the batch take turns, so that transfers overlap compute [default: 1,2].
        prefill_chunk: Most tokens of a sequence in one pass of a prefill [default: whole prompts, 2048 and 512].
        placement: How ranks are laid out, the axis of neighbouring devices first [default: all that cross other links].
        strategy: Sharding strategies, such as megatron,attention-dp-moe-ep [default: all that suit the model].
        weights: Number formats of the weights, such as bf16,fp8 [default: as published].
        experts: Number formats of the experts' weights [default: as published].
        activations: Number formats of the activations that enter products [default: as published].
        kv: Number formats of the cache [default: as published].
        engine: The serving software, for its host times and its kernels: vllm, a YAML file, ... [default: ideal, none].
    """


_KNOWN_NAMES: Mapping[str, Sequence[str]] = {
    "strategy": tuple(STRATEGIES),
    "placement": PLACEMENTS,
    **dict.fromkeys(("weights", "experts", "activations", "kv"), NUMERIC_FORMATS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked, read.

    Attributes:
        columns: The values of each workload and plan option that was given.
        devices: How many; None: what the degrees take.
    """

    columns: Mapping[str, Sequence[Cell]]
    devices: int | None

    @property
    def points(self) -> int:
        """Combinations of the values."""
        return math.prod(map(len, self.columns.values()))

    @property
    def varied(self) -> tuple[str, ...]:
        """Columns with several values."""
        return tuple(name for name, values in self.columns.items() if len(values) > 1)

    def one(self) -> tuple[Workload, Plan]:
        """The only combination."""
        cells = {name: values[0] for name, values in self.columns.items()}
        lengths = {name: value for name, value in cells.items() if name in LENGTHS}
        plan = {name: value for name, value in cells.items() if name not in LENGTHS}
        return Workload(**lengths), Plan(**plan)  # pyright: ignore[reportArgumentType]  (by column, as parsed)


def read_question(workload: WorkloadOptions, plan: PlanOptions, devices: str | None) -> Question:
    """Read the options of a question.

    Raises:
        PlanError: With all options that cannot be read, or the number of combinations where it is too large.
    """
    problems: list[Problem] = []
    columns = _columns(workload, plan, problems)
    count: int | None = None
    try:
        count = None if devices is None else parse_count("--devices", devices)
    except PlanError as error:
        problems += error.problems
    if problems:
        raise PlanError(*problems)
    question = Question(columns=columns, devices=count)
    if question.points > MOST_POINTS:
        sizes = " x ".join(f"{len(columns[name]):,} {name}" for name in question.varied)
        what = f"{sizes} are {question.points:,} combinations"
        fix = f"Ask for at most {MOST_POINTS:,} at once, or ask `gambrel sweep`"
        raise PlanError(Problem(where="table", what=what, fix=fix))
    return question


def read_lists(
    workload: WorkloadOptions, plan: PlanOptions, devices: str | None
) -> tuple[dict[str, Sequence[Cell]], tuple[int, ...] | None]:
    """The values of each option that was given, of which there may be any number, and the numbers of devices.

    Raises:
        PlanError: With all options that cannot be read.
    """
    problems: list[Problem] = []
    columns = _columns(workload, plan, problems)
    counts: tuple[int, ...] | None = None
    try:
        counts = None if devices is None else parse_counts("--devices", devices)
    except PlanError as error:
        problems += error.problems
    if problems:
        raise PlanError(*problems)
    return columns, counts


def _columns(workload: WorkloadOptions, plan: PlanOptions, problems: list[Problem]) -> dict[str, Sequence[Cell]]:
    """The options that were given, read; what cannot be read is added to the problems."""
    columns: dict[str, Sequence[Cell]] = {}
    for name, text in [(f.name, getattr(record, f.name)) for record in (workload, plan) for f in fields(record)]:
        try:
            if text is not None:
                columns[name] = _values(_option(name), name, text)
        except PlanError as error:
            problems += error.problems
    return columns


def read_one(workload: WorkloadOptions, plan: PlanOptions, devices: str | None, command: str) -> Question:
    """Read the options of a command that answers one question at a time.

    Raises:
        PlanError: As `read_question`, or an option has several values.
    """
    question = read_question(workload, plan, devices)
    problems = [
        Problem(
            where=_option(name),
            what=f"has {len(question.columns[name])} values, and {command} answers one question at a time",
            fix="Give one value, or ask `gambrel estimate` for a table",
        )
        for name in question.varied
    ]
    if problems:
        raise PlanError(*problems)
    return question


def _option(name: str) -> str:
    """How a column is written as an option: `--plan.prefill-microbatches`."""
    return f"--{name}" if name in LENGTHS else f"--plan.{name.replace('_', '-')}"


def _values(option: str, name: str, text: str) -> Sequence[Cell]:
    if name == "engine":
        return tuple(dict.fromkeys(word.strip() for word in text.split(",")))  # a name or a path: read where it is used
    if name in _KNOWN_NAMES:
        return parse_names(option, text, _KNOWN_NAMES[name])
    return parse_counts(option, text, least=0 if name == "prefix" else 1)
