"""Scores the time per output token of servers at a fixed concurrency, with plain roofline beside it.

Usage: python -m benchmarks.accuracy.serving [--data FILE] [--device D] [--family F]
           [--format table|json|markdown|residuals] [--write]

Every row is scored twice: by its kernels alone (`none`), and with the host times of its engine's profile (`profile`),
which `benchmarks.accuracy.fit_serving` fitted on every second series; `split` tells them apart.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.end_to_end import RESULTS, data_file
from benchmarks.accuracy.fit_serving import held_out_series, split_of
from gambrel.validation.score import Answer, Score, scores
from gambrel.validation.served import Served, read_served
from gambrel.validation.serving import Piece, answers, pieces

BEGIN, END = "<!-- serving: generated -->", "<!-- serving: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement with both estimates.

    Attributes:
        piece: What was measured, and what the estimates are combined from.
        bare: By kernels alone.
        full: With the host times of the engine's profile.
        split: `fitted`, `held out`, or `not fitted` (such a series may be decoded speculatively).
    """

    piece: Piece
    bare: Answer
    full: Answer
    split: str

    @property
    def kind(self) -> str:
        """What the row is averaged with."""
        served = self.piece.served
        return "dense" if served.dense else "maybe speculative" if served.speculative else "experts"


def rows_of(measured: Sequence[Served]) -> tuple[list[Row], list[Served]]:
    """All answered measurements, and the refused ones."""
    away = held_out_series(measured)
    found, refused = pieces(measured)

    both = zip(found, answers(found, host=False), answers(found), strict=True)
    return [Row(piece=p, bare=a, full=b, split=split_of(p.served, away)) for p, a, b in both], refused


def records(rows: Sequence[Row], refused: Sequence[Served]) -> list[dict[str, object]]:
    """Scores by source, engine, device, precision, metric, category and split, without and with host times."""
    out: list[dict[str, object]] = []
    for kind in sorted({x.kind for x in rows}):
        for split in sorted({x.split for x in rows}):
            some = [x for x in rows if x.kind == kind and x.split == split]
            for host, given in (("none", [x.bare for x in some]), ("profile", [x.full for x in some])):
                label = {"category": f"serving, {kind}", "host": host, "split": split}
                out += [{**asdict(x), **label} for x in scores(given)]
    silent = scores([Answer(run=x.run, refusal=x.run.refusal) for x in refused])
    return out + [{**asdict(x), "host": host, "split": "not answered"} for x in silent for host in ("none", "profile")]


SUMMARY = ("models", "engine", "device", "series", "rows", "median", "MAPE", "p90", "bias")
SUMMARY += ("median, profile", "bias, profile", "roofline median")


def summary(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Errors by kind of model, engine, device and split, with all of a kind first."""
    out: list[tuple[str, ...]] = []
    for kind in ("dense", "experts", "maybe speculative"):
        mine = [x for x in rows if x.kind == kind and x.piece.served.run.metric == "tpot"]
        out += [_line(kind, "all", "all", split, mine) for split in ("all", "held out")] if mine else []
        for engine in sorted({x.piece.served.engine for x in mine}):
            for device in sorted({x.piece.served.run.device for x in mine}):
                for split in sorted({x.split for x in mine}):
                    some = [
                        x
                        for x in mine
                        if (x.piece.served.engine, x.piece.served.run.device, x.split) == (engine, device, split)
                    ]
                    if some:
                        out.append(_line(kind, engine, device, split, some))
    return out


def _line(kind: str, engine: str, device: str, split: str, rows: Sequence[Row]) -> tuple[str, ...]:
    some = [x for x in rows if split in ("all", x.split)]
    if not some:
        return (kind, engine, device, split, "0", *[""] * 7)
    measured = np.array([x.piece.served.run.value for x in some])
    bare, full, plain = (
        np.array(values) / measured
        for values in (
            [x.bare.estimate for x in some],
            [x.full.estimate for x in some],
            [x.bare.roofline for x in some],
        )
    )
    errors = 100.0 * np.abs(bare - 1.0)
    numbers = (
        np.median(errors),
        errors.mean(),
        np.quantile(errors, 0.9),
        100.0 * np.expm1(np.log(bare).mean()),
        100.0 * np.median(np.abs(full - 1.0)),
        100.0 * np.expm1(np.log(full).mean()),
        100.0 * np.median(np.abs(plain - 1.0)),
    )
    return (kind, engine, device, split, str(len(some)), *(f"{value:.1f}" for value in numbers))


HEADER = ("source", "engine", "device", "precision", "metric", "models", "series", "rows", "parameters")
NUMBERS = ("MAPE", "median", "p90", "bias", "MAPE, profile", "median, profile", "roofline MAPE")


def details(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """One line for each source, engine, device, precision, metric, kind and split."""
    out: list[tuple[str, ...]] = []
    for kind in ("dense", "experts", "maybe speculative"):
        for split in ("fitted", "not fitted", "held out"):
            some = [x for x in rows if x.kind == kind and x.split == split]
            pairs = zip(scores([x.bare for x in some]), scores([x.full for x in some]), strict=True)
            out += [_detail(kind, split, bare, full) for bare, full in pairs]
    return out


def _detail(kind: str, split: str, bare: Score, full: Score) -> tuple[str, ...]:
    errors = (bare.mape, bare.median, bare.p90, bare.bias, full.mape, full.median, bare.roofline_mape)
    numbers = (f"{100.0 * value:.1f}" if value is not None else "" for value in errors)
    label = (bare.family, bare.op, bare.device, bare.dtype, bare.metric, kind, split)
    return (*label, str(bare.n), bare.grade, *numbers)


def silent(refused: Sequence[Served]) -> str:
    """What got no answer, by source and reason."""
    counts = Counter((x.run.family, x.run.refusal) for x in refused)
    return "; ".join(f"{family} ({rows} rows: {why})" for (family, why), rows in sorted(counts.items())) or "nothing"


def as_markdown(rows: Sequence[Row], refused: Sequence[Served]) -> str:
    """The generated section of RESULTS.md."""
    return "\n".join(
        [
            BEGIN,
            "## Serving at a fixed concurrency",
            "",
            "Written by `python -m benchmarks.accuracy.serving --write`. Time per output token of servers that keep",
            "the number of requests in flight. Errors are percent of the measured value: first kernels alone, then",
            "with the host times of the engine's *profile*, fitted on every second series; *held out* are the other",
            "series. *Bias*: geometric mean of estimate over measurement, minus one.",
            "*As published*: the source records no precision, the estimate takes that of the checkpoint. *Maybe",
            "speculative*: see [what the errors say](../../docs/explanation/serving.md).",
            "",
            *_markdown_table(SUMMARY, summary(rows)),
            "",
            *_markdown_table((*HEADER, *NUMBERS), details(rows)),
            "",
            f"Not answered: {silent(refused)}.",
            END,
        ]
    )


def _markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    top = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*top, *("| " + " | ".join(line) + " |" for line in lines)]


def as_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Aligned columns for a terminal."""
    every = [header, *lines]
    widths = [max(len(line[i]) for line in every) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in every)


RESIDUALS = ("family", "engine", "version", "device", "model", "precision", "split", "tp", "dp", "ep", "concurrency")
RESIDUALS += ("running", "isl", "osl", "measured", "kernels", "profile", "roofline", "step", "prefill")


def residuals(rows: Sequence[Row]) -> str:
    """One line a measurement, tab-separated, times in ms."""
    lines = ["\t".join(RESIDUALS)]
    for x in rows:
        served, piece = x.piece.served, x.piece
        run = served.run
        assert run.plan is not None
        assert run.workload is not None
        cells = (run.family, served.engine, served.version, run.device, run.model, run.dtype, x.split)
        sizes = (run.plan.tp, run.plan.dp, run.plan.ep, run.workload.batch, piece.running)
        times = (
            run.value,
            x.bare.estimate,
            x.full.estimate,
            x.bare.roofline,
            piece.times.step_s,
            piece.times.prefill_s,
        )
        shown = (f"{1e3 * float(value or 0.0):.4g}" for value in times)
        lines.append("\t".join([*cells, *map(str, (*sizes, run.workload.isl, run.workload.osl)), *shown]))
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
    parser.add_argument("--family", help="one source, such as aic_silicon")
    parser.add_argument("--format", choices=("table", "json", "markdown", "residuals"), default="table")
    parser.add_argument("--write", action="store_true", help="renew the serving section of RESULTS.md")
    args = parser.parse_args()

    def wanted(served: Served) -> bool:
        return args.device in (None, served.run.device) and args.family in (None, served.run.family)

    rows, refused = rows_of(read_served(args.data, partly=True))
    rows = [x for x in rows if wanted(x.piece.served)]
    refused = [x for x in refused if wanted(x)]
    if args.write:
        write(as_markdown(rows, refused))
    match args.format:
        case "json":
            print(json.dumps(records(rows, refused), indent=1))
        case "markdown":
            print(as_markdown(rows, refused))
        case "residuals":
            print(residuals(rows))
        case _:
            print(as_table(SUMMARY, summary(rows)))
            print("not answered:", silent(refused))


if __name__ == "__main__":
    main()
