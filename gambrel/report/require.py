"""What a machine needs to meet targets, for the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from gambrel.report.blocks import grid, heading, percent, size
from gambrel.report.question import question_lines
from gambrel.search.metrics import ASKED
from gambrel.search.require import Need, Requirements, Target, meets
from gambrel.units import format_quantity


def require_report(found: Requirements) -> list[RenderableType]:
    """The targets first, then what each number has to be alone, and all together."""
    return [
        *question_lines(found),
        *_targets(found.targets),
        *_memory(found),
        *_alone(found),
        *_joint("All rates by one factor", found.together),
        *_joint("The least joint change (of the sum of squares of the logarithms)", found.least),
        *_never(found),
    ]


def _targets(targets: Sequence[Target]) -> Iterator[RenderableType]:
    yield heading("Targets")
    rows = [
        (
            each.title,
            f"{'at least' if ASKED[each.metric].higher_is_better else 'at most'} "
            f"{format_quantity(each.wanted, each.unit)}",
            f"today {format_quantity(each.today, each.unit)}",
            Text("met", style="green") if each.met else Text(f"missed by {_missed(each)}", style="red"),
        )
        for each in targets
    ]
    yield grid(rows)


def _missed(target: Target) -> str:
    ratio = target.today / target.wanted
    return percent(max(ratio, 1.0 / ratio) - 1.0)


def _memory(found: Requirements) -> Iterator[RenderableType]:
    need = found.memory
    fits = "fits" if found.fits else f"DOES NOT FIT: {need.factor:.4g} x is needed"
    share = f"{size(need.needed)} of {size(need.today)}"
    yield heading(f"Memory of the fullest device: {share}: {fits}", style="bold" if found.fits else "bold red")


def _alone(found: Requirements) -> Iterator[RenderableType]:
    met = all(target.met for target in found.targets)
    yield heading(f"Each number alone, the others as they are{', could be' if met else ''}")
    rows = [_row(need, found.targets) for need in found.alone]
    width = 5 if any(row[4] for row in rows) else 4
    yield grid([row[:width] for row in rows], right=(1, 2, 3), head=_HEAD[:width])


_HEAD = ("", "today", "needed", "factor", "at best")


def _row(need: Need, targets: Sequence[Target] = ()) -> tuple[str, ...]:
    today = format_quantity(need.today, need.unit)
    if need.factor is None or need.needed is None:
        best = [(each, need.reached[each.metric]) for each in targets]
        missed = [f"{each.title} {format_quantity(value, each.unit)}" for each, value in best if not meets(each, value)]
        return need.title, today, "never", "", ", ".join(missed)
    return need.title, today, format_quantity(need.needed, need.unit), f"{need.factor:.4g} x", ""


def _joint(title: str, needs: Sequence[Need]) -> Iterator[RenderableType]:
    if needs:
        yield heading(title)
        yield grid([_row(need)[:4] for need in needs], right=(1, 2, 3), head=_HEAD[:4])


def _never(found: Requirements) -> Iterator[RenderableType]:
    """What no machine of this kind does."""
    missed = [each for each in found.targets if not each.met]
    if missed and not found.least:
        reached = ", ".join(f"{each.title} {format_quantity(found.limits[each.metric], each.unit)}" for each in missed)
        yield heading("No change of these numbers meets all targets", style="bold red")
        yield Text(f"At their limits there remain the fixed times of kernels and host: {reached}.")
