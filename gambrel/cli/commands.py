"""The table of commands: one line each, its code named as text so that only the command that runs is imported."""

from typing import NamedTuple

DESCRIPTION = "Estimate how a model runs on hardware: how fast, how much memory, energy and money, and what bounds it."

GROUPS = {
    "models": "List the shipped models; show how a config is understood.",
    "ops": "List the operations of the IR.",
    "hw": "List, show and check hardware profiles.",
    "data": "Import measurements.",
}
"""Commands that have subcommands, and what each is about."""


class Command(NamedTuple):
    """One command.

    Attributes:
        name: As typed, for example `hw list`; the first word of two is a key of GROUPS.
        target: `module:function`; the function returns an exit code, or None for 0.
        summary: One line for the overview.
        details: What else the command's own help says.
    """

    name: str
    target: str
    summary: str
    details: str = ""


COMMANDS = (
    Command(
        "estimate",
        "gambrel.cli.estimate:estimate",
        "Estimate time, memory, energy and money, and what bounds them.",
        "The options of the batch and of the plan also take lists (1,2,4) and ranges (1-256*2 doubles from 1 to 256, "
        "1-9+2 goes by twos, 1-4 by ones); the answer is then a table of all combinations.",
    ),
    Command(
        "explain",
        "gambrel.cli.explain:explain",
        "Say where the time goes: each kernel with its bound, FLOPs, bytes and formula.",
    ),
    Command(
        "plan",
        "gambrel.cli.plan:plan",
        "Find the best plan: every strategy, degree, batch and layout, under limits.",
        "Degrees, batches and layouts that are not given are searched; a list such as --plan.tp 4,8 searches those. "
        "Limits carry their unit (2s, 30ms, 60GB, 20kW). What is left out is left out for a proof: it cannot run, it "
        "does not fit, or another plan does just the same.",
    ),
    Command(
        "fleet",
        "gambrel.cli.fleet:fleet",
        "Find the cheapest machines for a mix of requests.",
        "The mix is a CSV file with a line for each class of requests: name, isl, osl, requests_per_s, and optionally "
        "ttft, tpot, latency (2s, 30ms) and tokens_per_s_per_user.",
    ),
    Command(
        "sweep",
        "gambrel.cli.sweep:sweep",
        "Estimate millions of points, into a folder of Parquet files.",
        "All options of the batch and of the plan, --on, --devices and --set take lists; the rows are their product. "
        "An interrupted sweep goes on when the same command is given again.",
    ),
    Command(
        "compare",
        "gambrel.cli.compare:compare",
        "Say what changed between two sweeps, or between two estimates.",
    ),
    Command(
        "sensitivity",
        "gambrel.cli.sensitivity:sensitivity",
        "Say what an estimate depends on: the change for 1 % more of each number.",
        "Exact derivatives for the numbers of the device; for the batch and its lengths, which are whole, the answers "
        "at half and at twice as many.",
    ),
    Command(
        "require",
        "gambrel.cli.require:require",
        "Say what a machine needs to meet targets: bandwidth, compute, links, memory.",
        "Each number alone with the others as they are, all rates by one factor, and the least joint change.",
    ),
    Command(
        "report",
        "gambrel.cli.report:report",
        "Write a report as one HTML file: time, memory, roofline, sensitivities and all plans.",
        "Needs the extra `plot` (pip install 'gambrel[plot]'). The file needs no network.",
    ),
    Command(
        "live",
        "gambrel.cli.live:live",
        "Write a page with sliders for batch, degrees and machine that estimates as they move.",
        "One HTML file that needs no network: it has the arithmetic of the estimate as a JavaScript function.",
    ),
    Command(
        "compile",
        "gambrel.cli.compile:compile_",
        "Print the IR that an estimate is made from, or its cost table.",
        "Without --on, number formats are as a machine uses them that multiplies all of them.",
    ),
    Command("accuracy", "gambrel.cli.accuracy:accuracy", "Score estimates against measured kernels, beside roofline."),
    Command(
        "calibrate",
        "gambrel.cli.calibrate:calibrate",
        "Fit a device's parameters to measurements, or measure this host.",
    ),
    Command("models list", "gambrel.cli.models:list_", "List the models of the shipped library."),
    Command("models show", "gambrel.cli.models:show", "Show a model's layers and parameters, and what was assumed."),
    Command("ops list", "gambrel.cli.ops:list_", "List the operations of the IR, and which have a cost rule."),
    Command("hw list", "gambrel.cli.hw:list_", "List the shipped hardware profiles."),
    Command("hw show", "gambrel.cli.hw:show", "Show every number of a profile with its source."),
    Command("hw validate", "gambrel.cli.hw:validate", "Check profiles; reports all errors of a file at once."),
    Command(
        "data import",
        "gambrel.cli.data:import_",
        "Turn published measurements into tables to calibrate with and to score against.",
    ),
)


def overview() -> str:
    """The text of `gambrel --help`, made without the command-line library: it takes most of the start-up time."""
    rows = [(c.name, c.summary) for c in COMMANDS if " " not in c.name]
    rows += list(GROUPS.items())
    width = max((len(name) for name, _ in rows), default=0) + 2
    lines = [f"  {name:<{width}}{summary}" for name, summary in rows]
    return "\n".join(
        [
            "Usage: gambrel COMMAND ...",
            "",
            DESCRIPTION,
            "",
            "Commands:",
            *lines,
            "",
            "`gambrel COMMAND --help` describes a command; `gambrel --version` prints the version.",
        ]
    )
