"""Scores the shipped parameters against measured kernels and renews the tables that show it.

Usage: python -m benchmarks.accuracy.kernels [--data DIR] [--write]

The scoring itself is `gambrel accuracy --kernels DIR`; this adds the run without each device's own fit, and the text
around the tables of RESULTS.md and README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.tables import Case
from gambrel.calibration.accuracy import markdown_table, score_folder, silent
from gambrel.calibration.score import Options, Score, mean_by
from gambrel.cost.engines import price
from gambrel.cost.kernel import Array
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

__all__ = ["data_folder", "load_device", "predict"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
README = ROOT / "README.md"
BEGIN, END = "<!-- kernels: generated -->", "<!-- kernels: end -->"
SUMMARY_BEGIN, SUMMARY_END = "<!-- accuracy: generated -->", "<!-- accuracy: end -->"

FAMILIES = {
    "gemm": "matrix products",
    "attention_prefill": "attention, prefill",
    "attention_decode": "attention, decode",
    "memory_bound": "memory-bound",
    "moe": "experts",
    "collective": "collectives",
    "conv": "convolutions",
    "attention_encoder": "attention, encoder",
    "mla": "latent attention",
    "moe_alltoall": "expert all-to-all",
    "linear_attention": "linear attention",
    "collective_topology": "collectives, by topology",
}
"""Measured tables as the summary names them."""


DEVICES = {
    "A100-SXM-80GB": "A100",
    "H100-SXM": "H100",
    "H200-SXM": "H200",
    "B200-SXM": "B200",
    "L40S": "L40S",
}
"""Devices of the short summary, and how it calls them."""


def data_folder() -> Path:
    """Folder of the measured data: GAMBREL_DATA, or `../shared/data` beside the repository."""
    return Path(os.environ.get("GAMBREL_DATA", ROOT.parent / "shared" / "data")) / "kernels"


def predict(case: Case, device: Device) -> Array:
    """Seconds of each row with the device's engine: the sum over the kernels of the call, and its overhead."""
    kernels = (price(kernel, device, case.residency).seconds for kernel in case.kernels)
    return case.overhead_s + sum(kernels, np.zeros_like(case.seconds))


def summary(known: Sequence[Score], new: Sequence[Score]) -> str:
    """Mean errors by family and device: calibrated, without what was fitted on the device, plain roofline."""
    ours, bare = mean_by(known, "family", "device"), mean_by(new, "family", "device")
    lines = [
        "| kernels | device | rows | mean error | as a new chip | roofline |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for family, title in FAMILIES.items():
        for key in sorted(key for key in ours if key[0] == family):
            rows, error, plain = ours[key]
            cells = (f"{rows:,}", *(f"{100 * x:.0f} %" for x in (error, bare[key][1], plain)))
            lines.append(f"| {title} | {key[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def short_summary(known: Sequence[Score], new: Sequence[Score]) -> str:
    """A line for each family: mean error beside that of plain roofline on each device, and both as a new chip."""
    ours, bare = mean_by(known, "family", "device"), mean_by(new, "family", "device")
    devices = [name for name in DEVICES if any(key[1] == name for key in ours)]
    lines = [
        f"| kernels | {' | '.join(DEVICES[name] for name in devices)} | as a new chip |",
        "|---" * (len(devices) + 2) + "|",
    ]
    for family, title in FAMILIES.items():
        keys = [(family, name) for name in devices]
        if not any(key in ours for key in keys):
            continue
        cells = [_pair(ours[key][1], ours[key][2]) if key in ours else "" for key in keys]
        found = [bare[key] for key in keys if key in bare]
        mean = _pair(*(float(np.mean([x[i] for x in found])) for i in (1, 2)))
        lines.append(f"| {title} | {' | '.join(cells)} | {mean} |")
    return "\n".join(lines)


def _pair(ours: float, plain: float) -> str:
    return f"{100 * ours:.0f} / {100 * plain:.0f}"


def section(known: Sequence[Score], new: Sequence[Score], by_library: Sequence[Score]) -> str:
    """The kernel section of RESULTS.md."""
    return "\n".join(
        [
            "## Kernels",
            "",
            "Written by `python -m benchmarks.accuracy.kernels --write`; `gambrel accuracy --kernels DIR` prints the",
            "same tables. Errors are percent of the measured time. *Parameters*: `calibrated` fitted on other sites of",
            "this device, `transferred` fitted on its generation, `datasheet` engine defaults. Of sources that",
            "parameters were fitted on, only shape sites that none was fitted on are scored. *in 95 %*: share of the",
            "measurements inside the interval of the estimate, on sites that did not shape the interval either.",
            "",
            "What the split does not protect: the terms of the formulas, and whether a loop's operands are hot, were",
            "chosen with whole tables in view; overheads of calls (no part of an estimate) come from the least times",
            "of whole tables.",
            "",
            "### By device",
            "",
            "*As a new chip*: without what was fitted on the device. The H100 and the H200 then have what their",
            "generation shares, which the other one shaped too; the rest have the defaults of the engine.",
            "",
            summary(known, new),
            "",
            "Mean error / that of plain roofline, percent; the last column is the mean over these devices:",
            "",
            short_summary(known, new),
            "",
            "### Calibrated",
            "",
            markdown_table(known),
            "",
            "### As a new chip",
            "",
            markdown_table(new),
            "",
            "### By library",
            "",
            markdown_table(by_library),
            "",
            "### Not answered",
            "",
            *(f"- {line}" for line in silent(known)),
        ]
    )


def splice(path: Path, begin: str, end: str, text: str) -> None:
    """Replaces what stands between two marks of a file; at its end where it has none.

    Args:
        path: The file.
        begin: The mark before, kept.
        end: The mark after, kept.
        text: What comes between them.
    """
    whole = path.read_text(encoding="utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}\n{end}\n"
    head, _, rest = whole.partition(begin)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Prints the summary, and with --write renews RESULTS.md and README.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the parquet files")
    parser.add_argument("--write", action="store_true", help="renew the tables of RESULTS.md and README.md")
    args = parser.parse_args()

    def quiet(line: str) -> None:
        if "skipped" in line:
            print(line, file=sys.stderr)

    known = score_folder(args.data, Options(), quiet)
    new = score_folder(args.data, Options(leave_out_device=True), quiet)
    print(summary(known, new))
    if args.write:
        by_library = score_folder(args.data, Options(by_library=True), quiet)
        splice(RESULTS, BEGIN, END, section(known, new, by_library))
        splice(README, SUMMARY_BEGIN, SUMMARY_END, short_summary(known, new))


if __name__ == "__main__":
    main()
