"""What does the speed of a plan depend on, and what would be enough for a target?"""

from gambrel import Plan, Workload, require, sensitivity

PLAN = Plan(tp=8)
WORKLOAD = Workload(batch=64, isl=4096, osl=512)

found = sensitivity("llama-3.1-70b", "h200-sxm", "tpot", plan=PLAN, workload=WORKLOAD)
print(f"TPOT {1e3 * found.value:.1f} ms; with 1 % more of")
for number in found.numbers[:3]:
    print(f"  {number.title}: {number.elasticity:+.2f} %")
print(f"  all fixed times: {found.fixed:+.2f} %")

needs = require("llama-3.1-70b", "h200-sxm", {"tpot": 0.8 * found.value}, plan=PLAN, workload=WORKLOAD)
print("For a fifth less:")
for need in needs.alone:
    print(f"  {need.title} alone: {'never enough' if need.factor is None else f'{need.factor:.2f} x'}")
for need in needs.together[:1]:
    print(f"  all rates together: {need.factor:.2f} x")
