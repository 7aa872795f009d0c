"""The lines above an answer that say what was asked."""

from rich.text import Text

from gambrel.estimation.points import Plan, Workload
from gambrel.report.text import plan_text, workload_text


def question_lines(model: str, device: str, devices: int, workload: Workload, plan: Plan) -> list[Text]:
    """`llama-3.1-70b on 8 x NVIDIA H100 SXM5 80GB`, the batch, and the plan."""
    several = f"{devices} x " if devices > 1 else ""
    return [
        Text(f"{model} on {several}{device}", style="bold"),
        Text(workload_text(workload)),
        Text(plan_text(plan)),
    ]
