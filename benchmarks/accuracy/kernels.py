"""Scores the cost engines against measured kernels, with plain roofline beside them.

Usage: python -m benchmarks.accuracy.kernels [--data DIR] [--device D] [--op O] [--format table|json|markdown] [--write]

Only shape sites that no parameter was fitted on are scored: half of the (n, k), head, model or message sizes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.tables import PROFILES, TABLES, Case, cases
from gambrel.cost.engines import parameter_grade, price
from gambrel.cost.kernel import Array, Attention, Gemm, GroupedGemm, Kernel, KernelCost, MemoryBound
from gambrel.cost.roofline import roofline
from gambrel.errors import GambrelError
from gambrel.hardware.device import Device

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- kernels: generated -->", "<!-- kernels: end -->"
ROWS = 3000
"""Most rows of one operation, device and format that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Errors of one operation on one device in one format, in percent; None where not answered.

    Attributes:
        rows: Scored rows.
        answered: Share of the rows that got an estimate.
        grade: How well the parameters are known, or why there is no answer.
        mape, median, p90: Absolute relative error.
        bias: Geometric mean of estimate over measurement, minus one.
        roofline_mape: The same mean for plain roofline.
    """

    op: str
    device: str
    dtype: str
    rows: int
    answered: float
    grade: str
    mape: float | None = None
    median: float | None = None
    p90: float | None = None
    bias: float | None = None
    roofline_mape: float | None = None


def data_folder() -> Path:
    """Folder of the measured data: GAMBREL_DATA, or `../shared/data` beside the repository."""
    return Path(os.environ.get("GAMBREL_DATA", ROOT.parent / "shared" / "data")) / "kernels"


def load_device(name: str) -> Device:
    """The profile of a measured device.

    Raises:
        GambrelError: No profile of that name, or it is wrong.
    """
    from gambrel.hardware.load import load_device as load

    return load(PROFILES.get(name, name))


def predict(case: Case, device: Device) -> Array:
    """Seconds of each row with the device's engine: the sum over the kernels of the call, and its overhead."""
    return case.overhead_s + _total(case, lambda kernel: price(kernel, device, case.residency))


def _total(case: Case, cost: Callable[[Kernel], KernelCost]) -> Array:
    return sum((cost(kernel).seconds for kernel in case.kernels), np.zeros_like(case.seconds))


def family(kernel: Kernel) -> str:
    """The parameter family that prices a kernel."""
    match kernel:
        case Gemm():
            return "gemm"
        case GroupedGemm():
            return "grouped_gemm"
        case Attention(decode=True):
            return "attention_decode"
        case Attention():
            return "attention_prefill"
        case MemoryBound():
            return "memory_bound"
        case _:
            return "collective"


def score(case: Case) -> Score:
    """Scores a case on its held-out sites."""
    kept = case.held_out
    label = {"op": case.op, "device": case.device, "dtype": case.dtype, "rows": int(kept.sum())}
    if case.device not in PROFILES:
        return Score(**label, answered=0.0, grade="no profile")
    try:
        device = load_device(case.device)
        estimate = predict(case, device)[kept]
        plain = _total(case, lambda kernel: roofline(kernel, device))[kept]
    except GambrelError as error:
        return Score(**label, answered=0.0, grade=error.problems[0].what)
    measured = case.seconds[kept]
    errors = 100.0 * np.abs(estimate / measured - 1.0)
    families = {family(kernel) for kernel in case.kernels}
    main = "grouped_gemm" if "grouped_gemm" in families else families.pop()
    return Score(
        **label,
        answered=float(np.isfinite(estimate).mean()),
        grade="roofline" if device.engine == "roofline" else parameter_grade(device, main),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        bias=float(100.0 * np.expm1(np.log(estimate / measured).mean())),
        roofline_mape=float(100.0 * np.abs(plain / measured - 1.0).mean()),
    )


def scores(folder: Path, *, device: str | None, op: str | None) -> list[Score]:
    """Every score, in the order of the tables."""
    return [
        score(case)
        for table in TABLES
        if op is None or op.split()[0] == table
        for case in cases(folder, table, limit=ROWS, device=device)
        if (op is None or case.op.startswith(op)) and case.held_out.any()
    ]


def unanswered_tables(folder: Path) -> list[str]:
    """Measured tables for which there is no engine yet."""
    return sorted(path.stem for path in folder.glob("*.parquet") if path.stem not in TABLES)


HEADER = ("op", "device", "dtype", "rows", "answered", "parameters", "MAPE", "median", "p90", "bias", "roofline MAPE")


def _row(x: Score) -> tuple[str, ...]:
    numbers = [f"{v:.1f}" if v is not None else "" for v in (x.mape, x.median, x.p90, x.bias, x.roofline_mape)]
    return (x.op, x.device, x.dtype, str(x.rows), f"{100 * x.answered:.0f} %", x.grade, *numbers)


def as_table(found: Sequence[Score]) -> str:
    """Aligned columns for a terminal."""
    rows = [HEADER, *map(_row, found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def as_markdown(found: Sequence[Score], missing: Sequence[str]) -> str:
    """The generated section of RESULTS.md."""
    lines = [
        BEGIN,
        "## Kernels",
        "",
        "Written by `python -m benchmarks.accuracy.kernels --write`. Errors are percent of the measured time, on shape",
        "sites that no parameter was fitted on. *Parameters*: `calibrated` fitted on other sites of this device,",
        "`transferred` fitted on its generation, `datasheet` engine defaults, `roofline` the roofline engine. The",
        "last word of a format names the measured library; parameters are one set for all libraries, so that one with",
        "slower kernels stands out.",
        "",
        "What the split does not protect: the terms of the formulas, and whether a loop's operands are hot, were",
        "chosen with whole tables in view; the 7.2 us that TensorRT-LLM's fp8 calls add (no part of an estimate) come",
        "from the least times of whole tables; the Ascend 910B's three numbers were fitted on all its bf16 products.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(_row(x)) + " |" for x in found if x.answered),
        "",
        "Not answered: " + "; ".join(_silent(found)) + ".",
        "",
        "No engine yet for the tables: " + ", ".join(missing) + ".",
        END,
    ]
    return "\n".join(lines)


def _silent(found: Sequence[Score]) -> list[str]:
    """What got no answer, per device and reason, with its rows."""
    counts: dict[tuple[str, str], int] = {}
    for x in found:
        if not x.answered:
            counts[x.device, x.grade] = counts.get((x.device, x.grade), 0) + x.rows
    return [f"{device} ({rows} rows: {why})" for (device, why), rows in counts.items()] or ["nothing"]


def write(section: str) -> None:
    """Replaces the generated section of RESULTS.md and leaves the rest as it is."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else f"# Accuracy\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    RESULTS.write_text(head + section + tail, encoding="utf-8")


def main() -> None:
    """Prints the scores, and with --write renews RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the parquet files")
    parser.add_argument("--device", help="one measured device, such as H100-SXM")
    parser.add_argument("--op", help="one operation, such as gemm or 'memory_bound softmax'")
    parser.add_argument("--format", choices=("table", "json", "markdown"), default="table")
    parser.add_argument("--write", action="store_true", help="renew the kernel section of RESULTS.md")
    args = parser.parse_args()
    found = scores(args.data, device=args.device, op=args.op)
    missing = unanswered_tables(args.data)
    if args.write:
        write(as_markdown(found, missing))
    if args.format == "json":
        print(json.dumps([asdict(x) for x in found], indent=1))
    elif args.format == "markdown":
        print(as_markdown(found, missing))
    else:
        print(as_table(found))
        print("no engine:", ", ".join(missing))


if __name__ == "__main__":
    main()
