"""The command-line application that the table of commands describes."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, MissingArgumentError

from gambrel import __version__
from gambrel.cli.commands import COMMANDS, DESCRIPTION, GROUPS
from gambrel.errors import Problem, UsageError


def run(args: Sequence[str]) -> int:
    """Run one command; a misuse of its options is one message on stderr and exit code 2.

    Raises:
        GambrelError: The command's input is wrong.
    """
    bare = next((word for word in args if word == "--plan" or word.startswith("--plan=")), None)
    if bare is not None:
        # cyclopts would take what follows for the first field of the plan
        raise UsageError(Problem(where=bare, what="is not an option", fix="Name what to plan: --plan.tp 8"))
    app = _build()
    try:
        result = app(list(args), exit_on_error=False, print_error=False, result_action="return_value")
    except MissingArgumentError as error:
        raise UsageError(_missing(error, args)) from None
    except CycloptsError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def _missing(error: MissingArgumentError, args: Sequence[str]) -> Problem:
    """An option or argument that is not there, or has no value."""
    name = "an argument" if error.argument is None else error.argument.name
    _, hint, meant = str(error).partition("Did you mean ")
    fix = f"`gambrel {' '.join(error.command_chain or ())} --help` describes it"
    return Problem(where=name, what="has no value" if name in args else "is missing", fix=hint + meant if hint else fix)


def _build() -> App:
    # An interrupt is ours to report: the library would exit on its own, past what a command cleans up.
    app = App(name="gambrel", help=DESCRIPTION, version=__version__, suppress_keyboard_interrupt=False)
    groups = {name: App(name=name, help=summary) for name, summary in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for command in COMMANDS:
        *group, name = command.name.split()
        parent = groups[group[0]] if group else app
        parent.command(command.target, name=name, help="\n\n".join(filter(None, (command.summary, command.details))))
    return app
