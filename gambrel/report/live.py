"""A page on which numbers can be moved: lengths, degrees and the machine, and the estimate follows at once.

The page has the arithmetic of the estimate as a JavaScript function, traced from the code that estimates here, so that
it shows what `gambrel estimate` prints; nothing is interpolated and nothing is asked of a server.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import product

from gambrel.codegen.javascript import javascript_function
from gambrel.codegen.plans import DEGREES, Ask, PlanGraph, trace_plans
from gambrel.cost.kernel import BOUNDS
from gambrel.cost.numbers import device_numbers
from gambrel.estimation.api import load
from gambrel.estimation.checks import WORKLOAD_RULES, check_plan
from gambrel.estimation.points import LENGTHS, Plan, Workload
from gambrel.estimation.resolve import Resolved, is_moe, resolve
from gambrel.frontends.architecture import Architecture, MoE
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_profile, to_device
from gambrel.hardware.profile import Profile
from gambrel.report.asked import Asked
from gambrel.report.figures.figure import BOUND_COLOURS, FAMILY_COLOURS, FAMILY_NAMES, json_text
from gambrel.report.figures.memory import KINDS
from gambrel.report.html import THEME_BUTTON, asset, page_html
from gambrel.report.text import plan_text, workload_text

OUTPUTS = (
    "ttft_s",
    "tpot_s",
    "latency_s",
    "tokens_per_s",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "memory_total_bytes",
    "capacity_bytes",
    *(f"memory_bytes.{kind}" for kind in KINDS),
    *(
        f"{phase}.{part}"
        for phase in ("prefill", "decode")
        for part in ("by_family", "by_bound", "bubble_seconds", "host_seconds")
    ),
)
"""What the page shows, by how the paths of the results begin."""

MOST = {"tp": 16, "pp": 16, "dp": 64, "ep": 256}
"""Largest degrees that are offered, where more were not asked for."""

LENGTH_RANGES = {"batch": (1, 4096), "isl": (1, 2**17), "osl": (1, 2**15), "prefix": (0, 2**17)}
"""Smallest and largest value of each slider, where more was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knob:
    """A slider of the machine: a factor on numbers of the device, and the options that do the same."""

    key: str
    title: str
    unit: str
    value: float
    numbers: Mapping[str, float]
    options: Sequence[str]


def live_html(asked: Asked) -> str:
    """A whole page with the sliders alone.

    Raises:
        GambrelError: As `estimate`.
    """
    profile = load_profile(asked.on, asked.overrides, residuals=False)
    title = f"{load(asked.model).name} on {profile.title}"
    top = f'<header class="live-head">{THEME_BUTTON}<h1>{escape(title)}</h1></header>'
    return page_html(title=title, top=top, body=live_fragment(asked))


def live_fragment(asked: Asked) -> str:
    """The sliders and what they change, as a piece of a page with the style of reports.

    Raises:
        GambrelError: As `estimate`.
    """
    architecture, profile = load(asked.model), load_profile(asked.on, asked.overrides, residuals=False)
    device = to_device(profile)
    resolved = resolve(architecture, device, asked.workload, asked.plan, asked.devices)
    check_plan(architecture, device, asked.workload, resolved.plan, asked.devices)
    knobs = list(_knobs(profile, device))
    traced = trace_plans(
        Ask(
            architecture=architecture,
            device=device,
            plan=asked.plan,
            degrees=_degrees(architecture, resolved),
            numbers=[name for knob in knobs for name in knob.numbers],
            outputs=OUTPUTS,
            allow_unpriced=asked.allow_unpriced,
        )
    )
    data = {
        "asked": f"{workload_text(asked.workload)}; {plan_text(resolved.plan)}",
        "lengths": {name: _length(name, asked.workload) for name in LENGTHS},
        "degrees": {name: {"values": traced.degrees[name], "start": getattr(resolved.plan, name)} for name in DEGREES},
        "knobs": [_record(knob) for knob in knobs if set(knob.numbers) & set(traced.graph.inputs)],
        "cp": resolved.plan.cp,
        **_combinations(traced),
        "rules": [_rule(architecture, number) for number in range(len(WORKLOAD_RULES))],
        "experts": is_moe(architecture),
        "command": _command(asked),
        "kinds": {kind: {"name": name, "colour": colour} for kind, (name, colour) in KINDS.items()},
        "families": {name: {"name": title, "colour": FAMILY_COLOURS[name]} for name, title in FAMILY_NAMES.items()},
        "bounds": {name: {"name": name, "colour": BOUND_COLOURS[name]} for name in BOUNDS},
    }
    script = f"{javascript_function(traced.graph)}\n{asset('quantity.js')}{asset('live.js')}"
    return "".join(
        (
            f"<style>{asset('live.css')}</style>",
            '<div class="live" id="live-place"></div>',
            f'<script type="application/json" id="live-data">{json_text(data)}</script>',
            f"<script>(() => {{\n{script}\n}})();</script>",
        )
    )


def _degrees(architecture: Architecture, resolved: Resolved) -> dict[str, list[int]]:
    """Powers of two, and what was asked."""
    experts = max((x.ffn.experts for _, x in architecture.counted_layers() if isinstance(x.ffn, MoE)), default=1)
    most = {**MOST, "pp": min(MOST["pp"], architecture.num_layers), "ep": min(MOST["ep"], experts)}
    out: dict[str, list[int]] = {}
    for name in DEGREES:
        asked = getattr(resolved.plan, name) or 1
        powers = {2**power for power in range(20) if 2**power <= max(most[name], asked)}
        out[name] = sorted(powers | {asked})
    return out


def _length(name: str, workload: Workload) -> dict[str, object]:
    """Values of a slider: steps of a third to a half, and what was asked."""
    least, most = LENGTH_RANGES[name]
    start: int = getattr(workload, name)
    steps = {value for power in range(40) for value in (2**power, 3 * 2**power // 2)} | {least, start}
    return {"values": sorted(v for v in steps if least <= v <= max(most, start)), "start": start}


def _knobs(profile: Profile, device: Device) -> Iterator[_Knob]:
    numbers = {name: float(each.value) for name, each in device_numbers(device).items()}
    level = next(name for name, its in profile.memory.items() if its.role == "device")
    own = profile.memory[level]
    yield _knob("memory.bandwidth", "memory bandwidth", "B/s", numbers, [f"memory.{level}.bandwidth"])
    usable = [f"memory.{level}.usable"] if own.usable is not None else []
    yield _knob("memory.capacity", "memory capacity", "B", numbers, [f"memory.{level}.capacity", *usable])
    peaks = [name for name in numbers if name.startswith("matrix.")]
    main = peaks[0] if peaks else "vector"
    yield _Knob(
        key="compute",
        title=f"compute, {main.removeprefix('matrix.')}",
        unit="FLOP/s",
        value=numbers[main],
        numbers={name: numbers[name] for name in (*peaks, "vector", "clock")},
        options=[
            *(f"compute.matrix.{name.removeprefix('matrix.')}.dense" for name in peaks),
            "compute.vector.rate",
            f"clocks.{profile.compute.clock}",
        ],
    )
    for link in profile.links:
        name = f"links.{link}.bandwidth"
        yield _knob(name, f"{link} bandwidth", "B/s", numbers, [name])
    if "price" in numbers:
        yield _knob("price", "price", "USD/h", numbers, [f"price.{'rent' if profile.price.rent else 'owned'}"])


def _knob(name: str, title: str, unit: str, numbers: Mapping[str, float], options: Sequence[str]) -> _Knob:
    value = numbers[name]
    return _Knob(key=name, title=title, unit=unit, value=value, numbers={name: value}, options=options)


def _record(knob: _Knob) -> dict[str, object]:
    return {field.name: getattr(knob, field.name) for field in fields(knob)}


def _combinations(traced: PlanGraph) -> dict[str, object]:
    """The variant of each combination of degrees, or -1 - the number of the reason why it cannot run."""
    reasons = {text: -1 - number for number, text in enumerate(dict.fromkeys(traced.problems.values()))}
    every = product(*(traced.degrees[name] for name in DEGREES))
    codes = [traced.variants[c] if c in traced.variants else reasons[traced.problems[c]] for c in every]
    return {"combinations": codes, "reasons": list(reasons)}


def _rule(architecture: Architecture, number: int) -> str:
    """What to say where a rule on the workload is broken: without its numbers, which the sliders show."""
    problem = WORKLOAD_RULES[number].problem(architecture, Workload(), Plan())
    return f"{problem.where}: {problem.why or 'it does not go with this batch'}"


def _command(asked: Asked) -> dict[str, object]:
    """The parts of a command that no slider changes."""
    plan = asked.plan
    moved = {*DEGREES, "strategy"}
    fixed = ["--plan.strategy", plan.strategy] if plan.strategy else []
    for field in fields(plan):
        value = getattr(plan, field.name)
        if field.name not in moved and value != field.default:
            fixed += [f"--plan.{field.name.replace('_', '-')}", str(value)]
    for override in asked.overrides:
        fixed += ["--set", override]
    return {"model": shlex.quote(asked.model), "on": shlex.quote(asked.on), "fixed": shlex.join(fixed)}
