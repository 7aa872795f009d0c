"""Predicted beside measured times of small models on this machine, after calibrating it.

Usage: python -m benchmarks.this_host [--profile PROFILE.yaml] [--minutes 2] [--threads 1] [--format table|json]

Needs PyTorch. Without --profile the machine is calibrated first, on designed shapes that are not the models'. Each
operation that PyTorch dispatches is timed, mapped to an operation of the measured tables, and predicted from its shapes
alone. The measured time of a model is that of a forward pass without timers; the interpreter's share of it is what the
operations do not add up to, and no prediction counts it. Roofline is that of the same profile: measured peak and
bandwidth, no launch, no cache.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.host_models import workloads
from gambrel.calibration.predict import build, predict_kernels
from gambrel.calibration.score import roofline_seconds
from gambrel.calibration.stopwatch import median_seconds
from gambrel.calibration.tables import operation_named, read_table
from gambrel.calibration.this_host import CONVOLUTION, POINTWISE, Settings, calibrate_host
from gambrel.calibration.write import write_profile
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

PASSES = 9

VIEWS = {
    *("view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "unsqueeze", "squeeze", "select"),
    *("split", "alias", "detach", "reshape", "as_strided", "unbind", "lift_fresh"),
}
"""Operations that move nothing; each costs a call."""

ELEMENTWISE = {"silu": "silu", "gelu": "gelu", "relu": "relu", "copy_": "copy", "clone": "copy", "cat": "copy"}
"""Operations with a like-named one in the tables; all others of one operand are priced as `relu`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One dispatched operation: its family here, the table that predicts it and its row, and what it took."""

    family: str
    table: str
    row: dict[str, float | str]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Seconds of a model, or of one of its families: predicted, of the timed operations, and by roofline."""

    model: str
    family: str
    calls: int
    predicted_s: float
    measured_s: float
    roofline_s: float
    whole_s: float | None = None


class Recorder(TorchDispatchMode):
    """Times every operation and keeps its shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[tuple[str, str, dict[str, float | str], float]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs one operation."""
        start = time.thread_time()
        out = func(*args, **(kwargs or {}))
        seconds = time.thread_time() - start
        self.ops.append((*classify(func.overloadpacket.__name__, args, kwargs or {}, out), seconds))
        return out


def classify(name: str, args: Any, kwargs: dict[str, Any], out: Any) -> tuple[str, str, dict[str, float | str]]:
    """The family of an operation, the table that prices it, and its row there."""
    if name in VIEWS:
        return "view", "memory_bound", _stream("copy", 1, 1)
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        a, b = [x for x in args if isinstance(x, torch.Tensor)][-2:]
        batch = a.shape[0] if a.ndim == 3 else 1
        return "gemm", "gemm", _product(a.shape[-2], b.shape[-1], a.shape[-1], batch)
    if name == "convolution":
        x, w, stride = args[0], args[1], args[3][0]
        library = POINTWISE if w.shape[-1] == stride == 1 else CONVOLUTION
        rows = x.shape[0] * out.shape[-1] * out.shape[-2]
        return "convolution", "gemm", _product(rows, w.shape[0], math.prod(w.shape[1:])) | {"library": library}
    if "scaled_dot_product" in name:
        return _attention(args, kwargs)
    first = out[0] if isinstance(out, (tuple, list)) else out
    shape = first.shape if isinstance(first, torch.Tensor) else (1,)
    cols = shape[-1] if len(shape) else 1
    rows = math.prod(shape) / max(cols, 1)
    if name == "embedding":
        return "gather", "memory_bound", _stream("emb", rows, cols)
    if name == "native_layer_norm":
        return "norm", "memory_bound", _stream("layernorm", rows, cols)
    if name == "_softmax":
        return "softmax", "memory_bound", _stream("softmax", rows, cols)
    if "batch_norm" in name or "pool" in name or name == "mean":
        x = args[0]
        elements = x.numel() / x.shape[-1]
        return ("reduction" if name == "mean" else name), "memory_bound", _stream("relu", elements, x.shape[-1])
    operands = [x for x in args if isinstance(x, torch.Tensor) and x.numel() == math.prod(shape)]
    return (
        "elementwise",
        "memory_bound",
        _stream(ELEMENTWISE.get(name, "add" if len(operands) > 1 else "relu"), rows, cols),
    )


def _stream(op: str, rows: float, cols: float) -> dict[str, float | str]:
    return {"dtype": "float32", "op": op, "rows": max(rows, 1), "cols": max(cols, 1)}


def _product(m: float, n: float, k: float, b: float = 1) -> dict[str, float | str]:
    return {"dtype": "float32", "m": m, "n": n, "k": k, "b": b, "library": ""}


def _attention(args: Any, kwargs: dict[str, Any]) -> tuple[str, str, dict[str, float | str]]:
    q, k = args[0], args[1]
    causal = bool(args[4]) if len(args) > 4 else bool(kwargs.get("is_causal", False))
    row: dict[str, float | str] = {"dtype": "float32", "batch": q.shape[0], "num_heads": q.shape[1]}
    row |= {"head_dim": q.shape[-1]}
    if q.shape[2] == 1:
        return "attention", "attention_decode", row | {"num_kv_heads": k.shape[1], "kv_len": k.shape[2]}
    if causal:
        return "attention", "attention_prefill", row | {"num_kv_heads": k.shape[1], "s": q.shape[2]}
    return "attention", "attention_encoder", row | {"s": q.shape[2]}


def record(run: Callable[[], Any]) -> list[Op]:
    """The operations of a forward pass with the median of their times over some passes."""
    passes: list[list[tuple[str, str, dict[str, float | str], float]]] = []
    for _ in range(PASSES + 2):
        with Recorder() as recorder:
            run()
        passes.append(recorder.ops)
    times = np.array([[op[3] for op in ops] for ops in passes[2:]])
    return [
        Op(family=family, table=table, row=row, seconds=seconds)
        for (family, table, row, _), seconds in zip(passes[-1], np.median(times, axis=0).tolist(), strict=True)
    ]


def predict(ops: list[Op], device: Device) -> tuple[np.ndarray, np.ndarray]:
    """Predicted seconds and plain roofline of each operation."""
    seconds, plain = np.zeros(len(ops)), np.zeros(len(ops))
    tables: dict[str, list[int]] = defaultdict(list)
    for i, op in enumerate(ops):
        tables[op.table].append(i)
    for name, where in tables.items():
        columns = {key: np.array([ops[i].row[key] for i in where]) for key in ops[where[0]].row}
        seconds[where] = predict_kernels(name, device, columns).seconds
        operation = operation_named(name)
        for group in operation.groups(read_table(operation, columns).rows):
            values = roofline_seconds(build(operation, group.rows), device)
            plain[np.array(where)[group.where]] = values
    views = [i for i, op in enumerate(ops) if op.family == "view"]
    plain[views] = 0.0
    return seconds, plain


def lines(name: str, run: Callable[[], Any], device: Device, threads: int) -> list[Line]:
    """A line for each family of a model, and one for all of it."""
    whole = median_seconds(run, 1.0, threads)
    ops = record(run)
    seconds, plain = predict(ops, device)
    measured = np.array([op.seconds for op in ops])
    families = np.array([op.family for op in ops])
    found: list[Line] = []
    for family in (*dict.fromkeys(families.tolist()), ""):
        rows = families == family if family else np.ones(len(ops), dtype=bool)
        found.append(
            Line(
                model=name,
                family=family or "all",
                calls=int(rows.sum()),
                predicted_s=float(seconds[rows].sum()),
                measured_s=float(measured[rows].sum()),
                roofline_s=float(plain[rows].sum()),
                whole_s=None if family else whole,
            )
        )
    return found


def device_of(profile: Path | None, minutes: float, threads: int) -> Device:
    """The device of a profile, or this machine, calibrated now."""
    if profile:
        return load_device(profile)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "this-host.yaml"
        settings = Settings(seconds=60.0 * minutes, backend="torch", threads=threads)
        _, text = calibrate_host(settings, out, lambda line: print(line, file=sys.stderr))
        write_profile(text, out, force=False)
        return load_device(out)


def main() -> None:
    """Prints the table, or the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    device = device_of(args.profile, args.minutes, args.threads)
    torch.set_num_threads(args.threads)
    found = [line for name, run in workloads().items() for line in lines(name, run, device, args.threads)]
    if args.format == "json":
        print(json.dumps([asdict(line) for line in found], indent=2))
        return
    print(device.title)
    head = ("model", "part", "calls", "predicted", "measured", "error", "roofline", "its error")
    print("{:26} {:22} {:>5} {:>10} {:>10} {:>7} {:>10} {:>9}".format(*head))
    for line in found:
        _print(line.model, line.family, line, line.measured_s)
        if line.whole_s is not None:
            _print(line.model, "with the interpreter", line, line.whole_s)
    for against in ("operations", "whole model"):
        wholes = [line for line in found if line.whole_s is not None]
        pairs = [(line, line.whole_s if against == "whole model" else line.measured_s) for line in wholes]
        ours, plain = ([abs(get / y - 1) for get, y in each] for each in _errors(pairs))
        print(f"mean error against {against}: {np.mean(ours):.1%}, roofline {np.mean(plain):.1%}")


def _errors(pairs: list[tuple[Line, float]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return [(line.predicted_s, y) for line, y in pairs], [(line.roofline_s, y) for line, y in pairs]


def _print(model: str, part: str, line: Line, measured: float) -> None:
    times = [f"{1e3 * x:.3f} ms" for x in (line.predicted_s, measured, line.roofline_s)]
    errors = [f"{x / measured - 1:+.0%}" if measured else "" for x in (line.predicted_s, line.roofline_s)]
    cells = (model, part, line.calls, times[0], times[1], errors[0], times[2], errors[1])
    print("{:26} {:22} {:5} {:>10} {:>10} {:>7} {:>10} {:>9}".format(*cells))


if __name__ == "__main__":
    main()
