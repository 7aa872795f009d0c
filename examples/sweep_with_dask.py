"""A sweep on a Dask cluster: its executor takes the place of a pool of processes."""

# Dask has no types.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
import tempfile
from importlib.util import find_spec
from pathlib import Path

import gambrel


def main() -> None:
    """Sweep on a cluster of two local processes; `Client("tcp://scheduler:8786")` joins one that runs."""
    missing = [name for name in ("pyarrow", "distributed") if find_spec(name) is None]
    if missing:
        print(f"This example needs {' and '.join(missing)}: pip install 'gambrel[arrow]' 'dask[distributed]'")
        return
    from distributed import Client

    with (
        tempfile.TemporaryDirectory() as folder,
        Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client,
    ):
        # Workers evaluate and send the parts back, so they need the package, but not the folder.
        run = gambrel.sweep(
            "llama-3.1-8b",
            "h100-sxm",
            output=Path(folder) / "run",
            columns={"tp": [1, 2, 4, 8], "batch": range(1, 257), "isl": [512, 2048, 8192], "osl": [128, 512]},
            executor=client.get_executor(),
            part_rows=1000,
        )
        print(f"{run.manifest.question.axes.rows:,} points in {len(run.files)} files")
        parts = run.manifest.parts
        print(f"{sum(part.ok for part in parts):,} fit, {sum(part.does_not_fit for part in parts):,} do not")


if __name__ == "__main__":  # workers of a local cluster import this file
    main()
