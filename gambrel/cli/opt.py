"""`gambrel-opt`: read a module, run passes on it, print it. The counterpart of `mlir-opt` for our dialects."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gambrel.errors import GambrelError, IRError, PlanError, Problem, UsageError, did_you_mean

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

EXIT_BAD_IR = 1
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `gambrel-opt ARGV`; returns 0, 1 where the module is wrong, or 2 where the call is."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    try:
        _run(args)
        sys.stdout.flush()
    except IRError as error:
        return _report(error, EXIT_BAD_IR)
    except GambrelError as error:
        return _report(error, EXIT_USAGE)
    except BrokenPipeError:
        # The reader (`| head`) is gone; without a stream the interpreter does not complain at its exit.
        sys.stdout = None
        return EXIT_BAD_IR
    return 0


def _report(error: GambrelError, code: int) -> int:
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gambrel-opt", description="Read a module, run passes on it and print it.", allow_abbrev=False
    )
    parser.add_argument("file", nargs="?", default="-", help="the module's text; - (the default) reads standard input")
    parser.add_argument(
        "-p", "--passes", default="", metavar="PIPELINE", help="such as 'shard{strategy=megatron},insert-collectives'"
    )
    parser.add_argument("--print-op-generic", action="store_true", help="print the form that any MLIR tool parses")
    parser.add_argument(
        "--print-ir-after", metavar="PASS", help="also print the module after that pass, or after 'all', to stderr"
    )
    parser.add_argument("--verify-only", action="store_true", help="print nothing where all is well")
    parser.add_argument("--list-passes", action="store_true", help="list the passes with their options and stop")
    parser.add_argument("-o", dest="output", metavar="OUT", help="write the module to this file")
    return parser


def _run(args: argparse.Namespace) -> None:
    if args.list_passes:
        _list_passes()
        return
    from gambrel.ir.text import parse_module, print_module
    from gambrel.passes.registry import parse_pipeline, run_pipeline

    passes = parse_pipeline(args.passes)
    shown = _shown_passes(args.print_ir_after, passes)
    name = "<stdin>" if args.file == "-" else args.file
    module = parse_module(_read(args.file), name)

    def show(item: "ModulePass", current: "ModuleOp") -> None:
        if item.name in shown:
            print(f"// -----// IR after {item} //----- //", file=sys.stderr)
            print(print_module(current, generic=args.print_op_generic), end="", file=sys.stderr)

    run_pipeline(module, passes, after=show)
    if args.verify_only:
        return
    _write(print_module(module, generic=args.print_op_generic), args.output)


def _shown_passes(wanted: str | None, passes: "Sequence[ModulePass]") -> frozenset[str]:
    """Names of the passes after which the module is printed.

    Raises:
        PlanError: The pipeline has no pass of that name.
    """
    names = frozenset(item.name for item in passes)
    if wanted is None or wanted == "all":
        return names if wanted else frozenset()
    if wanted not in names:
        what = f"no pass '{wanted}' in the pipeline"
        raise PlanError(Problem(where="--print-ir-after", what=what, fix=did_you_mean(wanted, (*names, "all"))))
    return frozenset((wanted,))


def _read(file: str) -> str:
    """The text of a file or of standard input.

    Raises:
        UsageError: It cannot be read, is not UTF-8, or is empty.
    """
    name = "<stdin>" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode()
    except OSError as error:
        raise UsageError(Problem(where=name, what=f"cannot be read: {error.strerror or error}")) from None
    except UnicodeDecodeError as error:
        raise UsageError(Problem(where=name, what=f"byte {error.start} is not UTF-8 text")) from None
    except ValueError as error:  # a NUL in the path
        raise UsageError(Problem(where=repr(name), what=f"cannot be read: {error}")) from None
    if not text.strip():
        raise UsageError(Problem(where=name, what="is empty", fix="Give it at least 'builtin.module {}'"))
    return text


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text)
    except OSError as error:
        raise UsageError(Problem(where=output, what=f"cannot be written: {error.strerror or error}")) from None


def _list_passes() -> None:
    from xdsl.passes import get_pass_option_infos

    from gambrel.passes.registry import PASSES, load_pass

    for name in PASSES:
        kind = load_pass(name)
        print(f"{name}\n    {(kind.__doc__ or '').strip().splitlines()[0]}")
        for option in get_pass_option_infos(kind):
            default = "" if option.default_value is None else f" = {option.default_value}"
            print(f"    {option.name}: {option.expected_type}{default}")
