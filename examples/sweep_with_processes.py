"""A sweep on a pool of processes: 60,000 points into Parquet files, and the best of them read back."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import gambrel


def main() -> None:
    """Sweep batches, lengths, degrees and a what-if, then look for the best throughput per device."""
    if find_spec("pyarrow") is None:
        print("This example needs pyarrow: pip install 'gambrel[arrow]'")
        return
    import pyarrow.compute as pc  # pyright: ignore[reportMissingTypeStubs]

    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        # `workers=2` does the same; any executor of this interface will do. The folder may hold an unfinished sweep of
        # the same question: then it goes on there.
        run = gambrel.sweep(
            "llama-3.1-8b",
            ["h100-sxm", "b200-sxm"],
            output=Path(folder) / "run",
            columns={"tp": [1, 2, 4, 8], "batch": range(1, 257), "isl": [512, 2048, 8192], "osl": [128, 512]},
            overrides={"memory.hbm.bandwidth": ["1x", "1.25x", "1.5x", "1.75x", "2x"]},
            executor=executor,
            part_rows=16_000,
        )
        table = run.dataset().to_table(filter=(pc.field("fits")) & (pc.field("tpot_s") < 0.02))
        print(f"{run.manifest.question.axes.rows:,} points in {len(run.files)} files, {table.num_rows:,} quick enough")
        for row in table.sort_by([("tokens_per_s_per_device", "descending")]).slice(0, 3).to_pylist():
            question = (
                f"{row['on']} with {row['memory.hbm.bandwidth']} the bandwidth, tp {row['tp']}, batch {row['batch']}"
            )
            print(f"{row['tokens_per_s_per_device']:.0f} tokens/s per device: {question}, isl {row['isl']}")


if __name__ == "__main__":  # processes that are spawned import this file
    main()
