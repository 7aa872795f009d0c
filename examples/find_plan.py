"""A search of all plans: the best under limits, what speed costs, and what to do when nothing meets them."""

from gambrel.estimation.points import Workload
from gambrel.search.plan import search
from gambrel.search.targets import Limits

WORK = Workload(isl=2048, osl=256)

# Degrees, batches, micro-batches, chunks and layouts of ranks that are not given are all tried.
result = search(
    "llama-3.1-70b",
    ["h100-sxm", "mi300x"],
    devices=[4, 8],
    workload=WORK,
    limits=Limits(ttft_s=3.0, tpot_s=0.03),
    objective="cost",
)
print(f"{result.counts.priced:,} plans priced, {result.counts.met:,} meet the limits; the cheapest:")
for choice in result.best[:3]:
    plan, metrics = choice.plan, choice.metrics
    print(
        f"  {choice.devices} x {choice.machine:<9} {plan.strategy} tp {plan.tp} pp {plan.pp} dp {plan.dp}, batch "
        f"{choice.workload.batch}: {metrics['usd_per_million_tokens']:.2f} USD per million tokens"
    )

print("\nWhat speed costs: the Pareto front")
for choice in result.front[:: max(len(result.front) // 5, 1)]:
    user, device = choice.metrics["tokens_per_s_per_user"], choice.metrics["tokens_per_s_per_device"]
    print(f"  {user:6.1f} tokens/s for a user, {device:6.1f} from a device")

# Limits that cannot be met are a result, with the tightest of them and its gap.
impossible = search("llama-3.1-70b", "h100-sxm", devices=8, workload=WORK, limits=Limits(tpot_s=0.001))
print(f"\nWithin 1 ms a token? {impossible.infeasible}")
