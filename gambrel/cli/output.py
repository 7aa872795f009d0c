"""How commands print: tables as wide as the terminal, and JSON."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gambrel.errors import Problem, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

Format = Literal["table", "json"]
"""What `--format` takes."""


def print_json(value: object) -> None:
    """Print dataclasses, mappings, sequences and scalars as indented JSON."""
    print(json.dumps(value, indent=2, default=_plain))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print rows of text under their column names; columns whose name begins with `>` are aligned to the right.

    Without columns there is no head, and the rows say themselves what they are.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD if columns else None,
        show_header=bool(columns),
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a cell are no markup
    print_report([table])


def print_report(parts: "Iterable[RenderableType]") -> None:
    """Print the parts of a report below each other, as wide as the terminal at most."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    # Without the blanks that fill the last column, so that output in a file or a test is clean.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def terminal_width() -> int:
    """Columns of the terminal; 80 where the output is none."""
    from rich.console import Console

    return Console().width


@contextmanager
def writing_to(path: Path | None) -> Generator[None]:
    """What is printed inside goes to a file, where one is named; nothing is written when an error ends it.

    Raises:
        UsageError: The file cannot be written.
    """
    if path is None:
        yield
        return
    with redirect_stdout(StringIO()) as printed:
        yield
    write_file(path, printed.getvalue())


def write_file(path: Path, text: str) -> None:
    """Write a text file.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        there = path.parent.is_dir()
        fix = "Name a file that you may write" if there else f"Make the folder {path.parent} first"
        what = f"cannot be written: {error.strerror or error}"
        raise UsageError(Problem(where=str(path), what=what, fix=fix)) from None


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")
