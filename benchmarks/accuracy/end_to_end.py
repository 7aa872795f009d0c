"""Scores estimates against published end-to-end measurements of static batches, with plain roofline beside them.

Usage: python -m benchmarks.accuracy.end_to_end [--data FILE] [--device D] [--family F]
           [--format table|json|markdown|residuals] [--write]

Nothing is fitted on these measurements. `residuals` prints one line a measurement, for a look at what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.accuracy.engine_series import held_out
from gambrel.validation.runs import ENGINES, Run, read_runs
from gambrel.validation.score import Answer, Score, answer, scores

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- end to end: generated -->", "<!-- end to end: end -->"


def data_file() -> Path:
    """The measurements: `e2e_open.jsonl.gz` in GAMBREL_DATA, or in `../shared/data` beside the repository."""
    return Path(os.environ.get("GAMBREL_DATA", ROOT.parent / "shared" / "data")) / "e2e_open.jsonl.gz"


HEADER = (
    "source",
    "engine",
    "device",
    "precision",
    "metric",
    "rows",
    "answered",
    "parameters",
    "MAPE",
    "median",
    "p90",
    "bias",
    "roofline MAPE",
    "misfits",
    "beyond",
    "held out",
    "MAPE, profile",
    "median, profile",
    "bias, profile",
)

NO_PROFILE = ("", "", "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Errors of one metric of one source on one device: by kernels alone, and on held-out series with the engine."""

    alone: Score
    engine: Score | None

    def record(self) -> dict[str, object]:
        """Plain values."""
        return {**asdict(self.alone), "with_profile": asdict(self.engine) if self.engine else None}


def scored(runs: Sequence[Run], answers: Sequence[Answer]) -> list[Scored]:
    """A score of every metric; the answers are by kernels alone, in the order of the runs."""
    away = [answer(x, host=True) for x in runs if x.engine in ENGINES and x.plan is not None and held_out(x)]
    engine = {_key(x): x for x in scores(away) if x.answered and x.metric != "peak memory"}
    return [Scored(alone=x, engine=engine.get(_key(x))) for x in scores(answers)]


def _key(x: Score) -> tuple[str, ...]:
    return (x.family, x.op, x.device, x.dtype, x.metric, x.category)


def _row(found: Scored) -> tuple[str, ...]:
    x, engine = found.alone, NO_PROFILE
    if found.engine:
        errors = (found.engine.mape, found.engine.median, found.engine.bias)
        engine = (str(found.engine.n), *(f"{100 * v:.1f}" if v is not None else "" for v in errors))
    numbers = [f"{100 * v:.1f}" if v is not None else "" for v in (x.mape, x.median, x.p90, x.bias, x.roofline_mape)]
    share = f"{100 * x.answered:.0f} %"
    return (
        x.family,
        x.op,
        x.device,
        x.dtype,
        x.metric,
        str(x.n),
        share,
        x.grade,
        *numbers,
        str(x.misfits),
        str(x.beyond),
        *engine,
    )


def as_table(found: Sequence[Scored]) -> str:
    """Aligned columns for a terminal."""
    rows = [HEADER, *map(_row, found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def as_markdown(found: Sequence[Scored], answers: Sequence[Answer]) -> str:
    """The generated section of RESULTS.md."""
    lines = [
        BEGIN,
        "## End to end",
        "",
        "Written by `python -m benchmarks.accuracy.end_to_end --write`. Errors are percent of the measured value, of",
        "published runs of one static batch, by kernels alone; nothing that these need was fitted on any of them.",
        "*Parameters*: the worst grade that took part. *Bias*: geometric mean of estimate over measurement, minus one;",
        "negative is too small. *Misfits*: runs that were measured but do not fit in memory by our estimate. *Beyond*:",
        "rows better than plain roofline, which means that the run was not what its row says; they are scored all the",
        "same. The engines of 2023 launch kernel by kernel, estimates assume captured graphs: see [what the errors",
        "say](../../docs/explanation/accuracy.md). *Profile*: with the host times and the libraries of the engine, on",
        "the *held out* rows alone; `benchmarks.accuracy.fit_engines` fitted the times on the other series.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(_row(x)) + " |" for x in found if x.alone.answered),
        "",
        "Not answered: " + "; ".join(_silent(answers)) + ".",
        END,
    ]
    return "\n".join(lines)


def _silent(answers: Sequence[Answer]) -> list[str]:
    """What got no answer, per source, device and reason, with its rows."""
    counts = Counter((x.run.family, x.run.device, x.refusal) for x in answers if x.estimate is None)
    return [f"{family} {device} ({rows} rows: {why})" for (family, device, why), rows in sorted(counts.items())] or [
        "nothing"
    ]


def residuals(answers: Sequence[Answer]) -> str:
    """One line a measurement, tab-separated."""
    lines = ["family\tengine\tdevice\tmodel\ttp\tpp\tbatch\tisl\tosl\tmetric\tmeasured\testimate\troofline"]
    for x in answers:
        if x.estimate is not None and x.run.plan is not None and x.run.workload is not None:
            run, plan, work = x.run, x.run.plan, x.run.workload
            cells = (run.family, run.engine, run.device, run.model, plan.tp, plan.pp, work.batch, work.isl, work.osl)
            numbers = (run.value, x.estimate, x.roofline if x.roofline is not None else float("nan"))
            lines.append("\t".join([*map(str, cells), run.metric, *(f"{value:.6g}" for value in numbers)]))
    return "\n".join(lines)


def write(section: str) -> None:
    """Replaces the generated section of RESULTS.md, or appends it, and leaves the rest as it is."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Accuracy\n"
    head, found, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2] if found else "\n"
    RESULTS.write_text((head if found else head.rstrip("\n") + "\n\n") + section + tail, encoding="utf-8")


def main() -> None:
    """Prints the scores, and with --write renews RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_file(), help="the file of measurements")
    parser.add_argument("--device", help="one measured device, such as H100-SXM-80GB")
    parser.add_argument("--family", help="one source, such as splitwise")
    parser.add_argument("--format", choices=("table", "json", "markdown", "residuals"), default="table")
    parser.add_argument("--write", action="store_true", help="renew the end-to-end section of RESULTS.md")
    args = parser.parse_args()
    runs = [run for run in read_runs(args.data) if args.device in (None, run.device)]
    answers = [answer(run) for run in runs if args.family in (None, run.family)]
    found = scored([x.run for x in answers], answers)
    if args.write:
        write(as_markdown(found, answers))
    match args.format:
        case "json":
            print(json.dumps([x.record() for x in found], indent=1))
        case "markdown":
            print(as_markdown(found, answers))
        case "residuals":
            print(residuals(answers))
        case _:
            print(as_table([x for x in found if x.alone.answered]))
            print("not answered:", *_silent(answers), sep="\n  ")


if __name__ == "__main__":
    main()
