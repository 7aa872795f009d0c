"""When passes run on the stages of a pipeline, and two halves of a batch on one device: start times from times alone.

A *pass* is one microbatch on its way through all stages. Seconds throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """When each pass starts on each stage.

    Attributes:
        starts: By pass, then by stage.
        period_s: After which the same pattern begins again: the end of the last pass, or one round of a decode.
    """

    starts: Sequence[Sequence[float]]
    period_s: float


def fill_and_drain(stages: Sequence[float], passes: int) -> Passes:
    """Passes that follow each other through the stages, each as soon as it and the stage are ready.

    `start[i][s] = max(end[i][s - 1], end[i - 1][s])`; with equal passes the last one ends at
    `sum(stages) + (passes - 1) max(stages)`.

    Source: Huang et al., GPipe, 2019, section 2.3.

    Args:
        stages: Seconds of one pass on each stage.
        passes: How many.
    """
    free = [0.0] * len(stages)
    starts: list[list[float]] = []
    for _ in range(passes):
        ready, mine = 0.0, list[float]()
        for stage, seconds in enumerate(stages):
            start = max(ready, free[stage])
            ready = free[stage] = start + seconds
            mine.append(start)
        starts.append(mine)
    return Passes(starts=starts, period_s=free[-1])


def rounds(stages: Sequence[float], passes: int) -> Passes:
    """Passes that go round the stages without end, as the microbatches of a decode do: one token of each in a period.

    Pass i enters the first stage at `i max(stages)` and waits nowhere; it is back for its next token after a period of
    `max(sum(stages), passes max(stages))`. The last passes of a period end in the next one.

    Args:
        stages: Seconds of one pass on each stage.
        passes: How many.
    """
    slowest = max(stages)
    before = [sum(stages[:stage]) for stage in range(len(stages))]
    starts = [[number * slowest + offset for offset in before] for number in range(passes)]
    return Passes(starts=starts, period_s=max(sum(stages), passes * slowest))


class Turn(NamedTuple):
    """One step of a half of the batch.

    Attributes:
        half: 0 or 1.
        step: Its number in the chain that both halves run.
        start_s, end_s: When.
    """

    half: int
    step: int
    start_s: float
    end_s: float


def take_turns(steps: Sequence[tuple[str, float]]) -> list[Turn]:
    """Two halves that run the same chain on shared resources, so that one transfers while the other computes.

    The next step is that of the half that can start first; a step starts once the one before it in its half has ended
    and its resource is free.

    Args:
        steps: The resource and the seconds of each step of the chain.
    """
    free: dict[str, float] = {}
    ready, done = [0.0, 0.0], [0, 0]
    out: list[Turn] = []
    while min(done) < len(steps):
        waiting = [half for half in (0, 1) if done[half] < len(steps)]
        half = min(waiting, key=lambda h: (max(ready[h], free.get(steps[done[h]][0], 0.0)), done[h], h))
        resource, seconds = steps[done[half]]
        start = max(ready[half], free.get(resource, 0.0))
        ready[half] = free[resource] = start + seconds
        out.append(Turn(half, done[half], start, start + seconds))
        done[half] += 1
    return out
