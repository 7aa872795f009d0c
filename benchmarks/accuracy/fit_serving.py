"""Fits the host times of engine profiles to the time per output token of servers at a fixed concurrency.

Usage: python -m benchmarks.accuracy.fit_serving [--data FILE]

Kernels are priced as they are; three constants of each engine are free, none of a device or a model. Every second
series is fitted, of dense models and of models with experts, the others are scored. Servers that may decode
speculatively are scored for information.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.accuracy.end_to_end import data_file
from gambrel.runtimes import EngineOverheads, load_engine
from gambrel.validation.served import Served, read_served
from gambrel.validation.serving import Piece, Stack, kernels_alone, pieces

NAMES = ("prefill_overhead_s", "step_overhead_s", "sequence_overhead_s")
START = np.array([1e-3, 3e-4, 5e-6])
PRIOR_SIGMA = 1.5
"""Spread of ln(parameter) around START: wide, so that the measurements decide where there are some."""

NOISE = 0.05


def held_out_series(measured: Iterable[Served]) -> set[str]:
    """Every second series in the order of their ids, dense models and others apart."""
    out: set[str] = set()
    every = list(measured)
    for dense in (True, False):
        ids = sorted({x.series for x in every if x.dense is dense and not x.run.refusal})
        out |= set(ids[::2])
    return out


def split_of(served: Served, away: set[str]) -> str:
    """`held out`, `fitted`, or `not fitted` where the server may decode speculatively."""
    return "held out" if served.series in away else "not fitted" if served.speculative else "fitted"


def with_times(engine: EngineOverheads, theta: np.ndarray) -> EngineOverheads:
    """An engine with these host times."""
    return replace(engine, **dict(zip(NAMES, theta.tolist(), strict=True)))


def fit(chosen: Sequence[Piece], engine: EngineOverheads) -> np.ndarray:
    """Host times by maximum a posteriori with log-normal priors."""
    stack, measured = Stack.of(chosen), np.array([p.served.run.value for p in chosen])

    def residual(z: np.ndarray) -> np.ndarray:
        ours, _ = stack.tpot_s(with_times(engine, START * np.exp(z)))
        return np.concatenate([np.log(ours / measured) / NOISE, z / PRIOR_SIGMA])

    starts = (np.zeros(3), np.full(3, -2.0), np.full(3, 1.0))
    found = (least_squares(residual, x, bounds=(-8, 8), loss="soft_l1") for x in starts)
    return START * np.exp(min(found, key=lambda result: result.cost).x)


def errors(chosen: Sequence[Piece], engine: EngineOverheads) -> np.ndarray:
    """Relative errors, estimate over measurement minus one."""
    return Stack.of(chosen).tpot_s(engine)[0] / np.array([p.served.run.value for p in chosen]) - 1.0


def _report(label: str, chosen: Sequence[Piece], before: EngineOverheads, after: EngineOverheads) -> None:
    if not chosen:
        return
    texts = []
    for engine in (before, after):
        found = errors(chosen, engine)
        bias = np.expm1(np.log1p(found).mean())
        texts.append(f"median {100 * np.median(np.abs(found)):5.1f} % bias {100 * bias:+6.1f} %")
    print(f"  {label:58} {len(chosen):4} rows: {texts[0]} -> {texts[1]}")


def main() -> None:
    """Prints the host times of each engine, with errors before and after by device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    measured = read_served(parser.parse_args().data or data_file(), partly=True)
    away = held_out_series(measured)
    every = [p for p in pieces(measured)[0] if p.served.run.metric == "tpot"]
    for name in sorted({p.served.engine for p in every}):
        engine = kernels_alone(load_engine(name))
        mine = [p for p in every if p.served.engine == name]
        fitted = [p for p in mine if split_of(p.served, away) == "fitted"]
        theta = fit(fitted, engine)
        shown = ", ".join(f"{key[:-2]} {value * 1e6:.1f} us" for key, value in zip(NAMES, theta, strict=True))
        print(f"{name}: {shown}; fitted to {len(fitted)} runs of {len({p.served.series for p in fitted})} series")
        after = with_times(engine, theta)
        groups: dict[tuple[str, ...], list[Piece]] = {}
        for piece in mine:
            served = piece.served
            kind = "dense" if served.dense else "speculative?" if served.speculative else "experts"
            split = split_of(served, away)
            groups.setdefault((kind, split, "all devices", ""), []).append(piece)
            groups.setdefault((kind, split, served.run.device, served.run.model.split(" ")[0]), []).append(piece)
        for key, members in sorted(groups.items()):
            _report(" ".join(key), members, engine, after)


if __name__ == "__main__":
    main()
