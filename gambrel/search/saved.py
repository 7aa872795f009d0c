"""A plan search as a folder that `gambrel report` reads: its points as one Parquet file, and a manifest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from gambrel.errors import Problem, UsageError
from gambrel.estimation.many import ANSWER_COLUMNS, QUESTION_COLUMNS
from gambrel.search.arrow import parquet_of, require_pyarrow
from gambrel.search.manifest import part_name
from gambrel.search.result import PlanChoice, PlanResult
from gambrel.search.runs import MANIFEST, write_whole, writing

SCHEMA = 1


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


def save(result: PlanResult, folder: Path) -> None:
    """Write the points of a search, which asked for them, and what was asked.

    Args:
        result: With its points; without any, only the manifest is written.
        folder: As `check_folder` left it.

    Raises:
        UsageError: The folder cannot be written.
    """
    parts: list[dict[str, object]] = []
    with writing(folder, "Mend that, and search again into an empty or a new folder"):
        if result.points:
            data = parquet_of([_row(choice) for choice in result.points])
            write_whole(folder / part_name(0), data)
            record = {"file": part_name(0), "first_row": 0, "rows": len(result.points), "bytes": len(data)}
            parts.append({**record, "sha256": hashlib.sha256(data).hexdigest()})
        question = {
            "model": result.named,
            "on": [note.machine for note in result.machines],
            "overrides": {path: [text] for path, _, text in (each.partition("=") for each in result.overrides)},
            "batching": result.batching,
            "objective": result.objective,
            "limits": dict(result.limits),
        }
        elsewhere = ("model", "named", "overrides", "version")
        answer = {key: value for key, value in result.to_dict().items() if key not in elsewhere}
        manifest = {
            "schema": SCHEMA,
            "kind": "plan",
            "version": result.version,
            "question": question,
            "parts": parts,
            "result": answer,
        }
        write_whole(folder / MANIFEST, f"{json.dumps(manifest, indent=1)}\n".encode())


def _row(choice: PlanChoice) -> dict[str, object]:
    """One point by the columns of a table of estimates; what a search does not keep is missing."""
    asked: Mapping[str, object] = {**asdict(choice.workload), **asdict(choice.plan)}
    answers: dict[str, object] = {**choice.metrics, "devices": choice.devices, "status": "ok", "fits": True}
    row: dict[str, object] = {"on": choice.machine, **{name: asked[name] for name in QUESTION_COLUMNS}}
    row |= {name: answers.get(name) for name in ANSWER_COLUMNS}
    return row
