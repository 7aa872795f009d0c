"""Pipeline stages of several numbers at once: only those that can be the slowest or the fullest."""

import numpy as np
import pytest

from gambrel.cost.rows import SegmentSpec
from gambrel.estimation.evaluate import Stage, stages

SEGMENTS = {
    "one": (SegmentSpec(label="layers", repetitions=32, layers_each=1),),
    "dense, then experts": (
        SegmentSpec(label="dense", repetitions=3, layers_each=1),
        SegmentSpec(label="experts", repetitions=58, layers_each=1),
    ),
    "groups of layers": (
        SegmentSpec(label="groups", repetitions=7, layers_each=6),
        SegmentSpec(label="rest", repetitions=2, layers_each=1),
    ),
}
COUNTS = np.array([[1.0, 2.0, 3.0], [7.0, 16.0, 31.0]])


def held(stage: Stage, cost: np.ndarray) -> np.ndarray:
    parts = (*stage.layers.values(), stage.first, stage.last, stage.sends)
    return sum((part * each for part, each in zip(parts, cost, strict=True)), np.zeros(()))


@pytest.mark.parametrize("name", SEGMENTS)
def test_the_most_that_a_stage_holds_is_that_of_each_number_alone(name: str) -> None:
    segments, rng = SEGMENTS[name], np.random.default_rng(0)
    together = list(stages(segments, COUNTS))
    assert len(together) <= 2 + len(segments)  # the first, those in between, the last
    for _ in range(20):
        cost = rng.random(len(segments) + 3) * (rng.random(len(segments) + 3) > 0.3)
        most = np.max([np.broadcast_to(held(stage, cost), COUNTS.shape) for stage in together], axis=0)
        for where, count in np.ndenumerate(COUNTS):
            alone = max(float(held(stage, cost)) for stage in stages(segments, np.asarray(count)))
            assert most[where] == alone


def test_stages_hold_all_layers_once() -> None:
    for segments in SEGMENTS.values():
        for count in (1.0, 2.0, 5.0, 16.0):
            whole = stages(segments, np.asarray(count))
            assert len(whole) == count
            for item in segments:
                layers = sum(float(stage.layers[item.label]) for stage in whole)
                assert layers == item.repetitions * item.layers_each
            assert [float(stage.sends) for stage in whole] == [1.0] * (len(whole) - 1) + [0.0]
