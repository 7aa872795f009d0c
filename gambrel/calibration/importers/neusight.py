"""NeuSight: PyTorch fp32 operators on NVIDIA and AMD GPUs.

Layout: `scripts/asplos/data/dataset{,_amd}/test/*.csv` (one file an operation, all devices) and
`.../train/collect/<op>/<version>/<device>.csv`. The other training files repeat those, and `vec.csv` and `habitat.csv`
repeat other tests. `Latency` is in ms. `M`, `N` and `K` of a product are the rows, the contracted dimension and the
columns: `torch.nn.Linear(N, K)`.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gambrel.calibration.columns import Text
from gambrel.calibration.importers.block import Block, Cells, FileRead, block
from gambrel.calibration.importers.sheet import Sheet
from gambrel.calibration.importers.source import Found, Layout, Request, read_file
from gambrel.errors import Problem, UsageError

DEVICES = {
    "AMD Instinct MI100": "MI100",
    "AMD Instinct MI210": "MI210",
    "NVIDIA A100 80GB PCIe": "A100-PCIe-80GB",
    "NVIDIA A100-PCIE-40GB": "A100-PCIe-40GB",
    "NVIDIA A100-SXM4-40GB": "A100-SXM-40GB",
    "NVIDIA H100 80GB HBM3": "H100-SXM",
    "NVIDIA L4": "L4",
    "Tesla P100-PCIE-16GB": "P100",
    "Tesla P4": "P4",
    "Tesla T4": "T4",
    "Tesla V100-PCIE-32GB": "V100-PCIe",
}
"""Devices by the name that PyTorch gives them; another name is kept as it is."""

PRODUCTS = ("linear", "bmm")
STREAMS = ("add", "addu", "div", "divu", "gelu", "ln", "mul", "mulu", "pow", "powu", "relu", "softmax", "tanh")
REPEATS = ("vec", "habitat")

_MEASURED = ("OPName", "Latency", "Device")
_CONV = ("B", "Input_Channel", "Output_Channel", "Kernel_Szie", "Input_Size", "Stride", "Padding")


def find(request: Request) -> Found:
    """The measurements of a checkout, or of its `scripts/asplos/data` folder.

    Raises:
        UsageError: There are none.
    """
    layouts = (request.path / "scripts" / "asplos" / "data", request.path)
    root = next((x for x in layouts if any(x.glob("dataset*"))), request.path)
    files = sorted(p for kind in ("test", "train") for p in root.glob(f"dataset*/{kind}/**/*.csv"))
    if not files:
        raise UsageError(
            Problem(
                where=str(request.path),
                what="holds no NeuSight measurements (scripts/asplos/data/dataset/...)",
                fix="Name the folder of a checkout of sitar-lab/NeuSight",
            )
        )
    label = request.label or "neusight"
    return Found(root=root, files=files, label=label, version="", read=partial(_read, root, label, request))


def _read(root: Path, label: str, request: Request, path: Path) -> FileRead:
    _, split, *below = path.relative_to(root).parts
    if split == "train" and len(below) != 4:
        return FileRead(path=path, whole="repeats the files of train/collect/<op>/<version>/")
    if split == "test" and path.stem in REPEATS:
        return FileRead(path=path, whole="repeats other files of the folder")
    op = below[1] if split == "train" else path.stem
    layout = _layout(op, label, split)
    return read_file(path, layout, request) if layout else FileRead(path=path, whole=f"no table for {op!r}")


def _layout(op: str, label: str, split: str) -> Layout | None:
    common: dict[str, Cells] = {"source": label, "dtype": "fp32", "split": split}
    if op in PRODUCTS:
        needs = (*_MEASURED, "B", "M", "N", "K")
        return Layout(tables=("gemm",), needs=needs, build=partial(_product, common))
    if op in STREAMS or op == "elem":
        return Layout(tables=("memory_bound",), needs=(*_MEASURED, "B", "H"), build=partial(_stream, common))
    if op == "conv":
        return Layout(tables=("conv",), needs=(*_MEASURED, *_CONV), build=partial(_conv, common))
    return None


def _measured(sheet: Sheet) -> dict[str, Cells]:
    codes, values = sheet.text("Device")
    return {
        "device": Text(codes, tuple(DEVICES.get(value, value) for value in values)),
        "kernel": sheet.text("Kernel Name") if "Kernel Name" in sheet.names else None,
        "latency_us": sheet.numbers("Latency") * 1e3,
    }


def _product(common: dict[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    """C[B, M, K] = A[B, M, N] B[B, N, K], in NeuSight's letters."""
    columns: dict[str, Cells] = {**common, **_measured(sheet), "nkern": _kernels(sheet)}
    columns |= {ours: sheet.numbers(theirs) for ours, theirs in {"b": "B", "m": "M", "n": "K", "k": "N"}.items()}
    columns |= {f"g{axis}": sheet.numbers(f"Grid {axis}") for axis in "xyz" if f"Grid {axis}" in sheet.names}
    return [block("gemm", sheet.length, columns, skipped)]


def _kernels(sheet: Sheet) -> Cells:
    """How many kernels a call ran; NaN where the row does not list them."""
    if "Kernels" not in sheet.names:
        return None
    codes, values = sheet.text("Kernels")
    return np.array([*(sum(bool(name) for name in value.split(";")) for value in values), np.nan])[codes]


def _stream(common: dict[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    columns: dict[str, Cells] = {
        **common,
        **_measured(sheet),
        "op": sheet.text("OPName"),
        "rows": sheet.numbers("B"),
        "cols": sheet.numbers("H"),
    }
    return [block("memory_bound", sheet.length, columns, skipped)]


def _conv(common: dict[str, Cells], sheet: Sheet, skipped: Counter[str]) -> Sequence[Block]:
    columns: dict[str, Cells] = {**common, **_measured(sheet), **{name: sheet.numbers(name) for name in _CONV}}
    return [block("conv", sheet.length, columns, skipped)]
