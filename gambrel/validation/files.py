"""Scores every measurement of a file: static batches, and servers at a fixed concurrency."""

from collections.abc import Callable
from pathlib import Path

from gambrel.validation.runs import PROFILES, Run, read_runs
from gambrel.validation.score import Score, answer, scores
from gambrel.validation.served import FAMILIES, METRICS
from gambrel.validation.serving import serving_answers


def score_file(file: Path, *, device: str, report: Callable[[str], None]) -> list[Score]:
    """Scores every fully specified measurement of a file; those without an answer are counted.

    Args:
        file: JSON lines, compressed or not.
        device: Only this one, as the file or a profile names it; all where empty.
        report: Gets what is being done.

    Raises:
        UsageError: The file cannot be read, or a line is no measurement.
    """

    def wanted(run: Run) -> bool:
        return device in ("", run.device, PROFILES.get(run.device))

    runs = [run for run in read_runs(file, every=True) if wanted(run)]
    report(f"{file.name}: {len(runs):,} fully specified rows")
    served = [item for item in serving_answers(file) if wanted(item.run)]
    return scores([*(answer(run) for run in runs if not _served(run)), *served])


def _served(run: Run) -> bool:
    return run.family.startswith(FAMILIES) and run.metric in METRICS
