"""Estimates inside a Ray Data pipeline: each batch is an Arrow table, one row in and one row out."""

# Ray has no types that a checker reads without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
import random
from importlib.util import find_spec

import gambrel


def main() -> None:
    """Price a thousand requests of a trace, one by one, with the columns of the trace."""
    missing = [name for name in ("pyarrow", "ray") if find_spec(name) is None]
    if missing:
        print(f"This example needs {' and '.join(missing)}: pip install 'gambrel[arrow]' 'ray[data]'")
        return
    import ray

    pick = random.Random(0)
    lengths = [{"isl": pick.randint(16, 8192), "osl": pick.randint(1, 512), "batch": 1, "tp": 2} for _ in range(1000)]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    # A batch may be cut anywhere; each worker compiles a plan once and keeps it.
    answers = ray.data.from_items(lengths).map_batches(
        gambrel.evaluate_batch,
        fn_kwargs={"model": "llama-3.1-8b", "on": "h100-sxm"},
        batch_format="pyarrow",
        batch_size=256,
    )
    rows = answers.take_all()
    latency_s, energy_j = (sum(row[name] for row in rows) / len(rows) for name in ("latency_s", "energy_per_token_j"))
    print(f"{len(rows):,} requests, on average {latency_s:.3f} s and {energy_j:.2f} J a token")
    ray.shutdown()


if __name__ == "__main__":
    main()
