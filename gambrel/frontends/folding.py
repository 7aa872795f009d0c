"""Write a long list of layers as few repeated ones, so that the IR holds each distinct layer once."""

from collections.abc import Iterable, Sequence

from gambrel.frontends.architecture import Layer, Segment


def fold(layers: Sequence[Layer]) -> tuple[Segment, ...]:
    """The segments that spell `layers` with the fewest written layers.

    Among equals, the one with the fewest segments wins, then the one whose first segments reach furthest: a pattern
    that does not divide the stack leaves its remainder at the end.

    Method: for every start, the failure function of Knuth, Morris and Pratt gives the shortest period of every run that
    begins there; dynamic programming from the end picks the cuts. O(n^2) for n layers.
    """
    if layers and all(layer == layers[0] for layer in layers):
        return (Segment(count=len(layers), layers=(layers[0],)),)
    letters: dict[Layer, int] = {}
    word = [letters.setdefault(layer, len(letters)) for layer in layers]
    total = len(word)
    # best[i] = (written layers, segments, -length of the first run, its period) of the best spelling of word[i:]
    best: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * (total + 1)
    for start in range(total - 1, -1, -1):
        periods = _shortest_periods(word[start:])
        best[start] = min(
            (period + best[start + length][0], 1 + best[start + length][1], -length, period)
            for length, period in enumerate(periods, start=1)
        )
    segments: list[Segment] = []
    at = 0
    while at < total:
        _, _, negative_length, period = best[at]
        segments.append(Segment(count=-negative_length // period, layers=tuple(layers[at : at + period])))
        at -= negative_length
    return tuple(segments)


def unfold(segments: Iterable[Segment]) -> tuple[Layer, ...]:
    """All layers in order of execution: the inverse of `fold`."""
    return tuple(layer for segment in segments for layer in segment.layers * segment.count)


def _shortest_periods(word: Sequence[int]) -> list[int]:
    """For each prefix, the length of the shortest word whose whole repeats spell it."""
    failure = [0]
    for letter in word[1:]:
        border = failure[-1]
        while border and word[border] != letter:
            border = failure[border - 1]
        failure.append(border + 1 if word[border] == letter else 0)
    periods: list[int] = []
    for length, border in enumerate(failure, start=1):
        period = length - border
        periods.append(period if length % period == 0 else length)
    return periods
