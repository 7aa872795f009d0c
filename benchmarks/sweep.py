"""CPU time and peak memory of sweeps: points per CPU second, with Parquet files and with nothing written.

Usage: OMP_NUM_THREADS=1 python -m benchmarks.sweep [--question lengths] [--points 1000000 20000000] [--folder DIR]

Each sweep runs in a process of its own, on one core. The clock starts when everything is imported: it counts loading,
compiling, evaluating, and writing with fsync. `--question` is one of QUESTIONS.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet  # noqa: F401  (before the clock starts)

from gambrel.estimation.many import Answers
from gambrel.search.question import Question, make_question
from gambrel.search.session import Session
from gambrel.search.sweep import PART_ROWS, sweep

POINTS = (1_000_000, 20_000_000)
TARGET_PER_S = 1e6
"""Points per CPU second on one core, files written."""

DEGREES = (1, 2, 4, 8)


def lengths(points: int) -> Mapping[str, Sequence[int]]:
    """Long lists of lengths for a few plans: batch x isl x osl x tp."""
    edge = round((points / len(DEGREES)) ** (1 / 3))
    return {
        "tp": DEGREES,
        "batch": range(1, edge + 1),
        "isl": range(128, 128 * (edge + 1), 128),
        "osl": range(2, 2 + 8 * edge, 8),
    }


def prompts(points: int) -> Mapping[str, Sequence[int]]:
    """Batches and prompts alone, so that every point has products of its own in a prefill: batch x isl x tp."""
    edge = round((points / len(DEGREES)) ** 0.5)
    return {"tp": DEGREES, "batch": range(1, edge + 1), "isl": range(128, 128 + 32 * edge, 32)}


def plans(points: int) -> Mapping[str, Sequence[object]]:
    """Short lists of lengths for many plans and what-ifs: formats x degrees x what-ifs x 10 x 11 lengths x osl."""
    count = max(round(points / (4 * len(DEGREES) * 30 * 110)), 1)
    return {
        "weights": ("bf16", "fp8"),
        "kv": ("bf16", "fp8"),
        "tp": DEGREES,
        "batch": [2**power for power in range(10)],
        "isl": [128 * 2**power for power in range(11)],
        "osl": range(16, 16 * (count + 1), 16),
    }


WHAT_IFS = {
    "memory.hbm.bandwidth": [f"{1 + share / 10:g}x" for share in range(6)],
    "compute.matrix.bf16.dense": [f"{1 + share / 5:g}x" for share in range(5)],
}
QUESTIONS = {"lengths": lengths, "prompts": prompts, "plans": plans}


def question(name: str, points: int) -> Question:
    """The question of about so many points."""
    overrides = WHAT_IFS if name == "plans" else {}
    return make_question("llama-3.1-70b", "h100-sxm", columns=QUESTIONS[name](points), overrides=overrides)


def evaluate_only(asked: Question) -> Answers | None:
    """All parts, one after the other, and none of them kept."""
    session, last = Session(asked), None
    for part in asked.axes.parts(PART_ROWS):
        last, _ = session.answers(part)
    return last


def measure(name: str, points: int, folder: str) -> dict[str, float]:
    """CPU and wall seconds, peak memory and bytes written of one sweep in this process; no folder: nothing written."""
    asked = question(name, points)
    wall, cpu = time.monotonic(), time.process_time()
    written = 0
    if folder:
        run = sweep(asked.model, asked.on, output=folder, columns=asked.columns, overrides=asked.overrides)
        written = sum(part.bytes for part in run.manifest.parts)
    else:
        evaluate_only(asked)
    return {
        "rows": asked.axes.rows,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - wall,
        "peak_bytes": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "written_bytes": written,
    }


def run_apart(name: str, points: int, folder: str) -> dict[str, float]:
    """The same in a fresh process."""
    words = [sys.executable, "-m", "benchmarks.sweep", "--one", name, str(points), folder]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def line(name: str, kind: str, found: Mapping[str, float]) -> str:
    """One row of the table."""
    rate = found["rows"] / found["cpu_s"]
    return (
        f"{name:8} {found['rows']:>12,.0f}  {kind:8} {found['cpu_s']:8.1f} s {found['wall_s']:8.1f} s "
        f"{rate / 1e6:7.2f} M/s {rate / TARGET_PER_S:6.2f} {found['peak_bytes'] / 1e9:7.2f} GB "
        f"{found['written_bytes'] / found['rows']:6.1f} B"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--question", choices=QUESTIONS, default=list(QUESTIONS), nargs="+")
    parser.add_argument("--points", type=int, nargs="+", default=POINTS, help="about so many")
    parser.add_argument("--folder", type=Path, default=None, help="where to write, and to remove it again")
    parser.add_argument("--one", nargs=3, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, points, folder = args.one
        print(json.dumps(measure(name, int(points), folder)))
        return
    print(
        f"{'question':8} {'points':>12}  {'':8} {'CPU':>10} {'wall':>10} {'per CPU s':>11} {'target':>6} "
        f"{'peak':>10} {'a point':>8}"
    )
    for name in args.question:
        for points in args.points:
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                print(line(name, "Parquet", run_apart(name, points, f"{folder}/run")), flush=True)
            print(line(name, "nothing", run_apart(name, points, "")), flush=True)


if __name__ == "__main__":
    main()
