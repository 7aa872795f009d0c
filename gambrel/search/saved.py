"""A search as a folder that `gambrel report` reads: a manifest, and its points, where it has any, as a Parquet file."""

# What JSON holds is unknown to a type checker until it is in the types of results; it stays inside this file.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import ANSWER_COLUMNS, QUESTION_COLUMNS
from gambrel.estimation.points import Plan, Workload
from gambrel.search.arrow import parquet_of, require_pyarrow
from gambrel.search.disaggregated import DisaggregatedResult
from gambrel.search.manifest import part_name
from gambrel.search.metrics import METRICS
from gambrel.search.pools import Disaggregated, Pool
from gambrel.search.result import Counts, Infeasible, MachineNote, Miss, PlanChoice, PlanResult
from gambrel.search.runs import MANIFEST, write_whole, writing

SCHEMA = 1

PLAN = "plan"
POOLS = "disaggregated"


def check_folder(folder: Path) -> None:
    """Refuse a folder that a search cannot be saved in, before it runs.

    Raises:
        UsageError: It is not empty, is no folder, or cannot be written; or pyarrow is not installed.
    """
    require_pyarrow("a search is saved as Parquet")
    fix = "Give an empty or a new folder that you may write"
    if folder.exists() and not folder.is_dir():
        raise UsageError(Problem(where=str(folder), what="is not a folder", fix=fix))
    with writing(folder, fix):
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(entry.name for entry in folder.iterdir())
        if not names:
            write_whole(folder / MANIFEST, b"{}\n")
            (folder / MANIFEST).unlink()
    if names:
        what = f"is not empty ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        raise UsageError(Problem(where=str(folder), what=what, why="nothing is overwritten", fix=fix))


def save(result: PlanResult | DisaggregatedResult, folder: Path) -> None:
    """Write what was asked and answered, and the points of a search that asked for them.

    Args:
        result: Of a search.
        folder: As `check_folder` left it.

    Raises:
        UsageError: The folder cannot be written.
    """
    parts: list[dict[str, object]] = []
    points = result.points if isinstance(result, PlanResult) else ()
    with writing(folder, "Mend that, and search again into an empty or a new folder"):
        if points:
            data = parquet_of([_row(choice) for choice in points])
            write_whole(folder / part_name(0), data)
            record = {"file": part_name(0), "first_row": 0, "rows": len(points), "bytes": len(data)}
            parts.append({**record, "sha256": hashlib.sha256(data).hexdigest()})
        question = {
            "model": result.named,
            "on": [note.machine for note in result.machines],
            "overrides": {path: [text] for path, _, text in (each.partition("=") for each in result.overrides)},
            "objective": result.objective,
            "limits": dict(result.limits),
        }
        manifest = {
            "schema": SCHEMA,
            "kind": PLAN if isinstance(result, PlanResult) else POOLS,
            "version": result.version,
            "question": question,
            "parts": parts,
            "best_row": points.index(result.best[0]) if isinstance(result, PlanResult) and points else None,
            "result": result.to_dict(),
        }
        write_whole(folder / MANIFEST, f"{json.dumps(manifest, indent=1)}\n".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a folder holds of a search.

    Attributes:
        result: The answer, without its points.
        best_row: Row of the best plan among the points; None without points.
    """

    result: PlanResult | DisaggregatedResult
    best_row: int | None


def read_saved(folder: Path) -> Saved | None:
    """The search that a folder holds; None where it holds something else.

    Raises:
        UsageError: Its manifest is not whole.
    """
    try:
        record: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("kind") not in (PLAN, POOLS):
            return None
        read = _plan_result if record["kind"] == PLAN else _pools_result
        return Saved(result=read(record["result"]), best_row=record["best_row"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None  # whoever reads the rows says so
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what, fix = "is not the manifest of a search of this version", "Search again with -o"
        raise UsageError(Problem(where=str(folder / MANIFEST), what=what, why=str(error), fix=fix)) from None


def _plan_result(record: Any) -> PlanResult:
    front_metrics = tuple(record["front_metrics"])
    own = {"front_metrics": front_metrics, "points": (), "counts": Counts(**record["counts"])}
    plain = {name: record[name] for name in ("model", "batching", "objective", "limits", "assumptions", "version")}
    return PlanResult(**plain, **own, **_shared(record, _choice))


def _pools_result(record: Any) -> DisaggregatedResult:
    names = ("model", "devices", "objective", "limits", "pairs", "assumptions", "version")
    return DisaggregatedResult(**{name: record[name] for name in names}, **_shared(record, _pair))


def _shared(record: Any, read: Callable[[Any], object]) -> dict[str, Any]:
    found = record["infeasible"]
    infeasible = (
        None
        if found is None
        else Infeasible(
            tightest=Miss(**found["tightest"]),
            alone=[Miss(**each) for each in found["alone"]],
            together=[Miss(**each) for each in found["together"]],
            nearest=None if found["nearest"] is None else read(found["nearest"]),
        )
    )
    return {
        "workload": Workload(**record["workload"]),
        "best": list(map(read, record["best"])),
        "front": list(map(read, record["front"])),
        "infeasible": infeasible,
        "machines": [MachineNote(**each) for each in record["machines"]],
        "named": record["named"],
        "overrides": tuple(record["overrides"]),
    }


def _choice(record: Any) -> PlanChoice:
    return PlanChoice(
        machine=record["machine"],
        devices=record["devices"],
        workload=Workload(**record["workload"]),
        plan=Plan(**record["plan"]),
        metrics={name: record[name] for name in METRICS if name in record},
    )


def _pair(record: Any) -> Disaggregated:
    cells: dict[str, Any] = {**record, "prefill": _pool(record["prefill"]), "decode": _pool(record["decode"])}
    return Disaggregated(**cells)


def _pool(record: Any) -> Pool:
    cells: dict[str, Any] = {**record, "plan": Plan(**record["plan"])}
    return Pool(**cells)


def _row(choice: PlanChoice) -> dict[str, object]:
    """One point by the columns of a table of estimates; what a search does not keep is missing."""
    asked: Mapping[str, object] = {**asdict(choice.workload), **asdict(choice.plan)}
    answers: dict[str, object] = {**choice.metrics, "devices": choice.devices, "status": "ok", "fits": True}
    row: dict[str, object] = {"on": choice.machine, **{name: asked[name] for name in QUESTION_COLUMNS}}
    row |= {name: answers.get(name) for name in ANSWER_COLUMNS}
    return row
