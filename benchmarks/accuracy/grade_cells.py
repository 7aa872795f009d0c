"""One cell of the benchmark of grades: the errors of one table on one device, with what is known of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from benchmarks.accuracy.fit import run
from benchmarks.accuracy.fit_targets import TARGETS
from benchmarks.accuracy.grade_rows import Draw, Measured, SetError, draw, errors
from gambrel.calibration.calibrate import refit
from gambrel.calibration.transfer import without_fits
from gambrel.hardware.device import Device
from gambrel.hardware.load import load_device

SIBLINGS = {"h100-sxm": "H200-SXM", "h200-sxm": "H100-SXM"}
"""Whose measurements the generation's parameters are fitted on where nothing of the device itself may be known: the
other chip of the generation, as the tables name it. Devices without one have the engine's defaults."""

COLUMNS = ("new", "random", "spread", "tenth", "shipped", "roofline")
"""What is known of the device: nothing; some rows drawn at random, or spread over the sizes; a share of its rows; what
its profile ships; its data sheet, priced by plain roofline."""

FITTED_HERE = ("new", "random", "spread", "tenth")
"""Columns that do not depend on the parameters that a profile ships."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is fitted on.

    Attributes:
        points: Rows of each set of parameters in the columns `random` and `spread`, and at least in `tenth`.
        share: Of all rows of each set in column `tenth`.
        limit: Most rows of one kind of call that a sibling is fitted on.
        seed: Of the draws.
    """

    points: int = 20
    share: float = 0.1
    limit: int = 120
    seed: int = 0


def score(column: str, measured: Measured, profile: str, folder: Path, settings: Settings) -> list[SetError]:
    """The errors of one column on the scored rows.

    Args:
        column: One of COLUMNS.
        measured: Rows of the device.
        profile: Name of its profile.
        folder: Of the measured tables.
        settings: How much is fitted on.
    """
    bare = without_fits(profile)
    if column == "shipped":
        return errors(measured, load_device(profile), bare)
    if column == "roofline":
        return errors(measured, None, bare)
    known = new_chip(profile, measured.operation.name, folder, settings.limit)
    if column == "new":
        return errors(measured, known, bare)
    share = settings.share if column == "tenth" else 0.0
    size = Draw(points=settings.points, share=share, seed=settings.seed, spread=column == "spread")
    return errors(measured, refit(known, [draw(measured, bare, size)], seed=settings.seed), bare)


@cache
def new_chip(profile: str, table: str, folder: Path, limit: int) -> Device:
    """The device with the parameters of one table's kernels as fitted on its sibling alone; the defaults without one.

    Args:
        profile: Name of the device's profile.
        table: Measured table.
        folder: Of the tables.
        limit: Most rows of one kind of call.
    """
    bare = without_fits(profile)
    sibling = SIBLINGS.get(profile)
    if sibling is None:
        return bare
    devices = {sibling: without_fits(sibling)}
    for target in TARGETS:
        if target.table == table:
            run(target, devices, folder, limit, (), None)
    given: Mapping[str, Mapping[str, object]] = devices[sibling].parameters
    return replace(bare, parameters=devices[sibling].parameters, parameter_grades=dict.fromkeys(given, "transferred"))
