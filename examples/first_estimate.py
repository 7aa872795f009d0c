"""A first estimate: one model, one machine, one plan, and the reasons behind the answer."""

import gambrel
from gambrel.estimation.points import Plan, Workload

# 32 requests at once, each with a prompt of 4096 tokens and an answer of 512.
workload = Workload(batch=32, isl=4096, osl=512)

# Every layer split over 8 devices. All that the plan leaves open is filled in, and the assumptions say how.
estimate = gambrel.estimate("llama-3.1-70b", "h100-sxm", plan=Plan(tp=8), workload=workload)

print(f"time to first token        {estimate.ttft_s:.2f} s")
print(f"time per output token      {1e3 * (estimate.tpot_s or 0.0):.1f} ms")
print(f"output tokens per second   {estimate.tokens_per_s:.0f}")
print(
    f"memory of each device      {estimate.memory.total_bytes / 1e9:.1f} of "
    f"{estimate.memory.capacity_bytes / 1e9:.0f} GB"
)

# What bounds it: the kernels and transfers of the mean decode step, longest first.
if estimate.decode is not None:
    print(f"\nA decode step is bound by {estimate.decode.bound}. Its longest kernels:")
    for row in estimate.decode.rows[:5]:
        print(f"{row.share:6.1%}  {row.bound:8}  {row.name}")

# A plan that lacks memory is a result as well: by how much, and what would help.
crowded = gambrel.estimate("llama-3.1-70b", "h100-sxm", plan=Plan(tp=1), workload=workload)
for violation in crowded.violations:
    print(f"\nOn one device {violation.gap_bytes / 1e9:.0f} GB are missing. Any of these would help:")
    for lever in violation.levers:
        print(f"  {lever.change}, which needs {lever.demand_bytes / 1e9:.1f} GB")
