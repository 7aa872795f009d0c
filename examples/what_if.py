"""What-if on the hardware: which number of a device should an architect improve for this workload?"""

import gambrel
from gambrel.estimation.points import Plan, Workload

PLAN = Plan(tp=8)
WORKLOAD = Workload(batch=16, isl=2048, osl=256)

# Any number of a profile can be scaled (2x), changed by a share (+10%) or replaced (6 TB/s).
WHAT_IFS = {
    "as it is": (),
    "twice the memory bandwidth": ("memory.hbm.bandwidth=2x",),
    "twice the matrix rate": ("compute.matrix.bf16.dense=2x",),
    "twice the link bandwidth": ("links.nvlink.bandwidth=2x",),
    "all of them": ("memory.hbm.bandwidth=2x", "compute.matrix.bf16.dense=2x", "links.nvlink.bandwidth=2x"),
}

print(f"{'H100 with':28}  {'TTFT':>9}  {'TPOT':>8}  {'tokens/s':>8}")
for name, overrides in WHAT_IFS.items():
    answer = gambrel.estimate("llama-3.1-70b", "h100-sxm", plan=PLAN, workload=WORKLOAD, overrides=overrides)
    tpot_ms = 1e3 * (answer.tpot_s or 0.0)
    print(f"{name:28}  {1e3 * answer.ttft_s:6.0f} ms  {tpot_ms:5.2f} ms  {answer.tokens_per_s:8.0f}")
    # The hash of the profile changes with it, so that no two answers are mixed up.
