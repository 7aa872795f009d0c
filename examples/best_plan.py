"""Many estimates at once: the cheapest way to serve a model that still answers quickly enough."""

from gambrel.estimation.table import estimate_table

SLOWEST_TPOT_S = 0.030
SLOWEST_TTFT_S = 3.0

# All combinations of the lists, priced together. `devices` stays 8: what tensor parallelism leaves is replicas.
table = estimate_table(
    "llama-3.1-70b",
    "h100-sxm",
    devices=8,
    columns={
        "tp": [1, 2, 4, 8],
        "batch": [1, 2, 4, 8, 16, 32, 64, 128],
        "weights": ["bf16", "fp8"],
        "isl": [2048],
        "osl": [256],
    },
)

# A point that cannot run or does not fit is a row too: its status says why.
fitting = [row for row in table.rows() if row["fits"]]
quick = [
    row
    for row in fitting
    if float(row["tpot_s"] or 0.0) <= SLOWEST_TPOT_S and float(row["ttft_s"] or 0.0) <= SLOWEST_TTFT_S
]
print(f"{len(table)} points, {len(fitting)} fit, {len(quick)} are quick enough\n")

print("tp  replicas  batch  weights  tokens/s  USD per million")
for row in sorted(quick, key=lambda row: float(row["usd_per_million_tokens"] or 0.0))[:5]:
    print(
        f"{row['tp']!s:>2}  {row['dp']!s:>8}  {row['batch']!s:>5}  {row['weights']!s:<7}  "
        f"{float(row['tokens_per_s'] or 0.0):8.0f}  {float(row['usd_per_million_tokens'] or 0.0):15.2f}"
    )

# `table.to_pandas()` and `table.to_arrow()` hand the same columns on, where pandas or pyarrow are installed.
