"""`gambrel fleet`: the cheapest machines for a mix of requests."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from gambrel.cli.amounts import read_amount
from gambrel.cli.output import print_json, print_report
from gambrel.cli.plan import LimitOptions, read_limits, read_space
from gambrel.cli.question import Repeated, SearchedPlan, WorkloadOptions, read_question
from gambrel.cli.ranges import parse_count, parse_counts, parse_machines
from gambrel.errors import GambrelError, PlanError, Problem, UsageError, did_you_mean
from gambrel.search.fleet import SIZES, RequestClass, plan_fleet
from gambrel.search.targets import Limits

_NEEDED = ("name", "isl", "osl", "requests_per_s")
_LIMITS = ("ttft", "tpot", "latency", "tokens_per_s_per_user")
COLUMNS = (*_NEEDED, *_LIMITS)
"""Columns of a mix; those of limits may be missing or empty."""

_T = TypeVar("_T")


def fleet(
    model: str,
    /,
    *,
    on: str,
    mix: str,
    sizes: str = ",".join(map(str, SIZES)),
    available: Repeated = (),
    batching: Literal["continuous", "static"] = "continuous",
    plan: SearchedPlan = SearchedPlan(),  # noqa: B008  (frozen)
    set: Repeated = (),
    format: Literal["text", "json"] = "text",
) -> None:
    """Find the cheapest fleet that serves a mix of requests within their limits.

    The mix is a CSV file with a line for each class of requests: name, isl, osl, requests_per_s, and optionally ttft,
    tpot, latency (`2s`, `30ms`) and tokens_per_s_per_user.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: Hardware profiles to choose from, between commas; each needs a rent.
        mix: The CSV file.
        sizes: Devices of an instance, several to choose from.
        available: Most devices of a machine: `h100-sxm=16`. May be repeated.
        batching: continuous replaces requests as they end; static prefills one batch, then decodes it.
        plan: Choices of the plans of instances; what is not given is open.
        set: Change a number of the profiles: `price.rent=2USD/h`. May be repeated.
        format: A report, or JSON.
    """
    from gambrel.cli.progress import watching

    question, machines = read_question(WorkloadOptions(), plan, None), parse_machines(on)
    with watching() as watch:
        result = plan_fleet(
            model,
            machines,
            mix=read_mix(Path(mix)),
            sizes=parse_counts("--sizes", sizes),
            available=_available(available, machines),
            batching=batching,
            space=read_space(question),
            overrides=set,
            watch=watch,
        )
    if format == "json":
        print_json(result.to_dict())
        return
    from gambrel.report.plan import fleet_report

    print_report(fleet_report(result))


def read_mix(path: Path) -> list[RequestClass]:
    """The classes of requests in a CSV file.

    Raises:
        UsageError: The file cannot be read, or a column is unknown or missing.
        PlanError: With every cell that cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            rows = [
                (reader.line_num, {name: (cell or "").strip() for name, cell in zip(names, row.values(), strict=False)})
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise UsageError(Problem(where=str(path), what="cannot be read", why=why or str(error))) from None
    problems = [
        Problem(where=str(path), what=f"unknown column '{name}'", fix=did_you_mean(name, COLUMNS))
        for name in names
        if name not in COLUMNS
    ]
    problems += [Problem(where=str(path), what=f"no column '{name}'") for name in _NEEDED if name not in names]
    if not rows:
        problems.append(Problem(where=str(path), what="no requests", fix="Write a line for each class"))
    if problems:
        raise UsageError(*problems)
    out: list[RequestClass] = []
    for line, cells in rows:
        try:
            out.append(_class(f"{path}:{line}", cells))
        except GambrelError as error:
            problems += error.problems
    if problems:
        raise PlanError(*problems)
    return out


def _class(where: str, cells: Mapping[str, str]) -> RequestClass:
    """One line of a mix.

    Raises:
        PlanError: With every cell that cannot be read.
    """
    problems: list[Problem] = []

    def read(parse: Callable[[], _T], default: _T) -> _T:
        try:
            return parse()
        except PlanError as error:
            names = ((p, p.where.removeprefix("--").replace("-", "_")) for p in error.problems)
            problems.extend(Problem(where=f"{where} {name}", what=p.what, why=p.why, fix=p.fix) for p, name in names)
            return default

    limits = LimitOptions(**{name: cells[name] for name in _LIMITS if cells.get(name)})
    asked = RequestClass(
        name=cells["name"],
        isl=read(lambda: parse_count("isl", cells["isl"]), 1),
        osl=read(lambda: parse_count("osl", cells["osl"]), 1),
        requests_per_s=read(lambda: read_amount("requests_per_s", cells["requests_per_s"], "count"), 1.0),
        limits=read(lambda: read_limits(limits), Limits()),
    )
    if problems:
        raise PlanError(*problems)
    return asked


def _available(texts: tuple[str, ...], known: Sequence[str]) -> dict[str, int]:
    out: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals or name not in known:
            fix = f"Write MACHINE=NUMBER with a machine of --on: {', '.join(known)}"
            raise UsageError(Problem(where=f"--available {text}", what="is not understood", fix=fix))
        out[name] = parse_count("--available", number, least=0)
    return out
