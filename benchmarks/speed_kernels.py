"""CPU seconds for one million kernel predictions, per family, on one core.

Usage: OMP_NUM_THREADS=1 python -m benchmarks.speed_kernels [--on h100-sxm] [--points 1000000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gambrel.cost.engines import price
from gambrel.cost.kernel import Attention, Gemm, GroupedGemm, Kernel, MemoryBound, Transfer
from gambrel.hardware.load import load_device


def kernels(points: int) -> Mapping[str, Kernel]:
    """One kernel of each family with `points` random shapes, log-uniform over what serving sees."""
    rng = np.random.default_rng(0)

    def sizes(low: float, high: float) -> np.ndarray:
        return np.floor(np.exp(rng.uniform(np.log(low), np.log(high), points)))

    m, n, k = sizes(1, 32768), sizes(64, 65536), sizes(64, 65536)
    batch, length = sizes(1, 256), sizes(1, 131072)
    decode = Attention(
        batch=batch,
        q_len=1.0,
        kv_len=length,
        pairs=length,
        heads=32.0,
        kv_heads=8.0,
        head_dim=128.0,
        v_head_dim=128.0,
        q_bytes=2.0,
        kv_bytes=2.0,
        kv_bytes_total=batch * length * 8.0 * 256.0 * 2.0,
        decode=True,
        rate="bf16",
    )
    return {
        "gemm": Gemm(m=m, n=n, k=k, batch=1.0, rate="bf16", a_bytes=2.0, b_bytes=2.0, c_bytes=2.0),
        "grouped_gemm": GroupedGemm(
            rows=m,
            experts=64.0,
            hit_experts=np.minimum(m, 64.0),
            n=n,
            k=k,
            rate="bf16",
            a_bytes=2.0,
            b_bytes=2.0,
            c_bytes=2.0,
        ),
        "attention_prefill": replace(decode, q_len=length, pairs=length * (length + 1.0) / 2.0, decode=False),
        "attention_decode": decode,
        "memory_bound": MemoryBound(
            op="norm", rows=m, cols=n, bytes_read=m * n * 2.0, bytes_written=m * n * 2.0, flops=4.0 * m * n
        ),
        "collective": Transfer(op="all_reduce", message_bytes=m * n, group=8.0, stride=1.0),
    }


def main() -> None:
    """Prints one line a family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", default="h100-sxm", help="hardware profile")
    parser.add_argument("--points", type=int, default=1_000_000)
    args = parser.parse_args()
    device = load_device(args.on)
    for family, kernel in kernels(args.points).items():
        start = time.process_time()
        price(kernel, device)
        print(f"{family:18} {time.process_time() - start:6.3f} s CPU for {args.points:,} points")


if __name__ == "__main__":
    main()
