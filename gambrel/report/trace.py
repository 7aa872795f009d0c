"""A timeline as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open: JSON of the trace event format.

A process stands for a pipeline stage (all devices of a stage do the same), a thread for one of its lanes: `compute`,
each link, the engine's host, and above them what groups the kernels. The decode step follows the prefill.

Source: "Trace Event Format", Google, 2016: complete events (`ph: X`) and metadata events (`ph: M`), times in us.
"""

import json
import math
from collections.abc import Iterator, Mapping

from gambrel.estimation.result import Estimate
from gambrel.estimation.timeline import COMPUTE, HOST, LAYERS, PASSES, PhaseTimeline, Slice, Timeline
from gambrel.report.text import plan_text, title_text, workload_text

Event = Mapping[str, object]

PHASES_PID = 0
"""The process that shows the phases; the stages follow it."""

_PHASE_NAMES = {"prefill": "prefill of the batch", "decode": "decode step, the mean one"}


def trace_json(estimate: Estimate, timeline: Timeline) -> str:
    """The trace as text."""
    return json.dumps(trace(estimate, timeline), separators=(",", ":"), allow_nan=False)


def trace(estimate: Estimate, timeline: Timeline) -> dict[str, object]:
    """The trace as plain values: `traceEvents`, and in `otherData` what was asked and what it rests on."""
    phases = [phase for phase in (timeline.prefill, timeline.decode) if phase is not None]
    names = _lane_names(phases)
    events: list[Event] = [*_process(PHASES_PID, "phases", 0), *_thread(PHASES_PID, 0, "phase")]
    for stage in range(timeline.prefill.stages):
        events += _process(stage + 1, _stage_name(stage, timeline.prefill.stages, estimate), stage + 1)
        events += [event for lane, name in enumerate(names) for event in _thread(stage + 1, lane, name)]
    start = 0.0
    for phase in phases:
        args = {"seconds": phase.seconds, **{f"note {n}": text for n, text in enumerate(phase.notes, 1)}}
        events.append(_event(PHASES_PID, 0, _PHASE_NAMES[phase.phase], "phase", (start, start + phase.seconds), args))
        for item in phase.slices:
            when = (start + item.start_s, start + item.end_s)
            events.append(_event(item.stage + 1, names.index(item.lane), item.name, _category(item), when, item.args))
        start += phase.seconds
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "title": title_text(estimate),
            "workload": workload_text(estimate.workload),
            "plan": plan_text(estimate.plan),
            "ttft_s": estimate.ttft_s,
            "tpot_s": estimate.tpot_s,
            "version": estimate.provenance.version,
            "profile": estimate.provenance.profile,
            "profile_hash": estimate.provenance.profile_hash,
            "notes": list(dict.fromkeys(note for phase in phases for note in phase.notes)),
            "assumptions": list(estimate.assumptions),
        },
        "traceEvents": events,
    }


def _lane_names(phases: list[PhaseTimeline]) -> list[str]:
    """Every lane that is used: what groups, compute, links in the order of first use, the host."""
    used = dict.fromkeys(item.lane for phase in phases for item in phase.slices)
    fixed = (PASSES, *LAYERS, COMPUTE)
    links = [lane for lane in used if lane not in (*fixed, HOST)]
    return [lane for lane in (*fixed, *links, HOST) if lane in used]


def _stage_name(stage: int, stages: int, estimate: Estimate) -> str:
    each = estimate.devices // stages
    which = f"stage {stage} of {stages}" if stages > 1 else "device"
    return f"{which}, one of {each} that do the same" if each > 1 else which


def _category(item: Slice) -> str:
    return str(item.args.get("family", item.kind))


def _event(
    pid: int, tid: int, name: str, category: str, when: tuple[float, float], args: Mapping[str, object]
) -> Event:
    start, end = (round(seconds * 1e9) for seconds in when)
    return {
        "ph": "X",
        "pid": pid,
        "tid": tid,
        "name": name,
        "cat": category,
        "ts": _microseconds(start),
        "dur": _microseconds(end - start),
        "args": args,
    }


def _microseconds(nanoseconds: int) -> float:
    """Viewers multiply by 1000 and cut off: the nearest float below a whole number would lose a nanosecond."""
    value = nanoseconds / 1000.0
    return value if int(value * 1000.0) == nanoseconds else math.nextafter(value, math.inf)


def _process(pid: int, name: str, order: int) -> Iterator[Event]:
    yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}
    yield {"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": order}}


def _thread(pid: int, tid: int, name: str) -> Iterator[Event]:
    yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}
    yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}
