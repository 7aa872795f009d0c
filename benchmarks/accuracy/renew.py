"""Fits anew the sets of parameters that shipped profiles say were fitted, each on the devices that its comment names.

Usage: python -m benchmarks.accuracy.renew [--family gemm] [--profile nvidia-hopper] [--limit ROWS]

To be run after a formula has changed. A set that the profile inherits from its generation keeps what it gives of its
own: only these parameters are fitted, the others stay the generation's. Generations come before their devices, and the
sets of no library before those of one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.accuracy.fit import ROOT, family_of, run
from benchmarks.accuracy.fit_targets import TARGETS
from benchmarks.accuracy.profile_text import render, splice
from gambrel.hardware.load import load_device

PROFILES = ROOT / "gambrel" / "hardware" / "profiles"

BLOCK = re.compile(
    r"(?m)^  # [^\n]*held-out rows of (?P<devices>[^\n]*)\n  (?P<family>[^\n:]+):\n(?P<values>(    [^\n]*\n)*)"
)

EXTENDS = re.compile(r"(?m)^extends: \[?(?P<names>[^\]\n]*)")


class Shipped(NamedTuple):
    """A fitted set as a profile has it: whose rows it was fitted on, and the names of its parameters."""

    devices: tuple[str, ...]
    names: tuple[str, ...]


def shipped_sets(path: Path) -> dict[str, Shipped]:
    """The fitted sets of a profile by family."""
    return {
        found["family"]: Shipped(
            devices=tuple(found["devices"].split(", ")),
            names=tuple(re.findall(r"(?m)^    (\w+):", found["values"])),
        )
        for found in BLOCK.finditer(path.read_text(encoding="utf-8"))
    }


def parents(path: Path) -> list[Path]:
    """The profiles that one extends, files of residuals left out, nearest first."""
    found = EXTENDS.search(path.read_text(encoding="utf-8"))
    names = [name.strip() for name in found["names"].split(",")] if found else []
    near = [PROFILES / f"{name}.yaml" for name in names if not name.startswith("residuals-")]
    return [each for parent in near for each in (parent, *parents(parent))]


def profiles() -> Iterator[Path]:
    """All profiles with fitted sets, generations before what extends them."""
    every = [path for path in PROFILES.glob("*.yaml") if not path.name.startswith("residuals-") and shipped_sets(path)]
    yield from sorted(every, key=lambda path: (len(parents(path)), path.name))


def renew(path: Path, data: Path, families: tuple[str, ...], limit: int) -> None:
    """Fits the sets of one profile whose families begin with one of some names, and writes them into it."""
    left = {family: each for family, each in shipped_sets(path).items() if family.startswith(families)}
    inherited = {family for parent in parents(path) for family in shipped_sets(parent)}
    known = {family: {name: load_device(name) for name in each.devices} for family, each in left.items()}
    targets = {family: [x for x in TARGETS if family_of(x, known[family].values()) == family] for family in left}
    for family in sorted(left, key=lambda each: TARGETS.index(targets[each][0]) if targets[each] else len(TARGETS)):
        devices = {name: load_device(name) for name in left[family].devices}
        only = left[family].names if family in inherited else ()
        # Of several targets of one name the last that has rows counts, as where all are fitted one after another.
        tried = (run(target, devices, data, limit, only, None) for target in reversed(targets[family]))
        found = next((each for each in tried if each is not None), None)
        if found is None:
            print(f"{path.stem}: {family} stays: no rows are its own", file=sys.stderr)
            continue
        path.write_text(splice(path.read_text(encoding="utf-8"), found), encoding="utf-8")
        print(f"{path.stem}: {render(found).splitlines()[0].strip(' #')}: {family}", flush=True)


def main() -> None:
    """Renews the asked families of the asked profiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "kernels")
    parser.add_argument("--family", action="append", help="what names of families start with; all if absent")
    parser.add_argument("--profile", action="append", help="names of profiles; all if absent")
    parser.add_argument("--limit", type=int, default=800, help="most rows of one kind of call")
    args = parser.parse_args()
    for path in profiles():
        if not args.profile or path.stem in args.profile:
            renew(path, args.data, tuple(args.family or ("",)), args.limit)


if __name__ == "__main__":
    main()
