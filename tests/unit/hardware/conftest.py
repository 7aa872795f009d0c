"""A small valid profile as text, and a way to break one thing in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

TOY = """\
schema: 1
id: toy
title: Toy device
vendor: acme
kind: gpu
generation: toys
engine: gpu
year: 2026
default_source: sheet
clocks:
  core: 1 GHz
units:
  sm: {count: 10}
compute:
  unit: sm
  clock: core
  matrix:
    bf16: {dense: 20 TFLOP/s, sparse: 40 TFLOP/s, per_clock: 2000 FLOP/clk}
  vector: {rate: 1 TFLOP/s}
memory:
  smem: {role: scratchpad, scope: sm, capacity: 100 KiB, usable: 99 KiB}
  l2: {role: cache, capacity: 10 MB, bandwidth: 4 TB/s}
  hbm: {role: device, capacity: 80 GB, bandwidth: 1 TB/s, energy: 4 pJ/b}
links:
  fast: {size: 8, bandwidth: 100 GB/s, latency: 1 us, topology: switch}
  slow: {size: 64, bandwidth: 25 GB/s, latency: 5 us, topology: fat-tree}
host:
  dram: {bandwidth: 32 GB/s}
power: {tdp: 300 W, idle: 50 W, all_in: 600 W}
sources:
  sheet: {kind: datasheet, ref: "Toy data sheet"}
"""


@pytest.fixture
def profile_file(tmp_path) -> Callable[..., Path]:
    """Writes the toy profile with pieces of its text exchanged, or another text, and returns its path."""

    def write(*changes: tuple[str, str], text: str = TOY, name: str = "toy") -> Path:
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} must be unique"
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write
