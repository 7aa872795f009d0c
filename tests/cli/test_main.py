import os
import subprocess
import sys

import pytest

import gambrel
from gambrel import cli as gambrel_cli
from gambrel.cli.commands import COMMANDS, GROUPS
from gambrel.errors import Problem, ProfileError

HEAVY = (
    "numpy",
    "xdsl",
    "pydantic",
    "rich",
    "cyclopts",
    "ruamel",
    "quantiphy",
    "sympy",
    "networkx",
    "pandas",
    "plotly",
    "pyarrow",
)


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"import contextlib, io, sys\nwith contextlib.redirect_stdout(io.StringIO()):\n {statement}\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import gambrel", "import gambrel.cli; gambrel.cli.main(['--help'])"])
def test_start_up_imports_nothing_heavy(statement):
    assert modules_after(statement).isdisjoint(HEAVY)


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_help_lists_every_command(cli, args):
    result = cli(*args)
    assert result.code == 0
    top = {command.name for command in COMMANDS if " " not in command.name} | set(GROUPS)
    listed = {line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line[:2] == "  "}
    assert listed == top


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_loads_and_describes_itself(cli, command):
    result = cli(*command.name.split(), "--help")
    assert result.code == 0
    assert f"gambrel {command.name}" in result.stdout


def test_groups_are_the_first_words_of_commands():
    assert {command.name.split()[0] for command in COMMANDS if " " in command.name} == set(GROUPS)


def test_version(cli):
    assert cli("--version").stdout == f"gambrel {gambrel.__version__}\n"


@pytest.mark.parametrize("args", [("estimat",), ("--bogus",)])
def test_misuse_is_one_message(cli, args):
    result = cli(*args)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_errors_are_one_line_a_problem(cli, monkeypatch):
    def fail(args: list[str]) -> int:
        raise ProfileError(Problem(where="a.yaml:1:2", what="bare number"), Problem(where="a.yaml:3:1", what="no unit"))

    monkeypatch.setattr(gambrel_cli, "_run", fail)
    result = cli("hw", "validate", "a.yaml")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == "error: a.yaml:1:2: bare number.\nerror: a.yaml:3:1: no unit.\n"


def test_interrupt(cli, monkeypatch):
    def interrupt(args: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(gambrel_cli, "_run", interrupt)
    assert cli("hw", "list").code == 130


def test_a_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    code = "import sys, gambrel.cli; sys.exit(gambrel.cli.main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (gambrel_cli.EXIT_BROKEN_PIPE, "")
