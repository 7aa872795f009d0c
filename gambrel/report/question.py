"""The lines above an answer that say what was asked."""

from rich.text import Text

from gambrel.report.text import plan_text, workload_text
from gambrel.search.require import Requirements
from gambrel.search.sensitivity import Sensitivity


def question_lines(answer: Sensitivity | Requirements) -> list[Text]:
    """`llama-3.1-70b on 8 x NVIDIA H100 SXM5 80GB`, the batch, and the plan."""
    several = f"{answer.devices} x " if answer.devices > 1 else ""
    lines = [
        Text(f"{answer.model} on {several}{answer.device}", style="bold"),
        Text(workload_text(answer.workload)),
        Text(plan_text(answer.plan)),
    ]
    return [*lines, Text("LOWER BOUND: some ops have no price", style="bold red")] if answer.lower_bound else lines
