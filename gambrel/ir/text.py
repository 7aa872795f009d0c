"""Text in and out: parse a module with the position of every op, print it back exactly."""

from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException, ParseError

from gambrel.errors import IRError, Problem
from gambrel.ir.dist import DIST
from gambrel.ir.kv import KV
from gambrel.ir.model import MODEL
from gambrel.ir.structure import STRUCTURE

DIALECTS = {dialect.name: dialect for dialect in (MODEL, KV, DIST, STRUCTURE)}
"""Our dialects by name."""


def new_context() -> Context:
    """A context that knows the builtin dialect and ours."""
    context = Context()
    for dialect in (Builtin, *DIALECTS.values()):
        context.load_dialect(dialect)
    return context


class _LocatingParser(Parser):
    """Stamps each op with where its text starts, so that later errors can point there."""

    op_start: int = 0

    def parse_operation(self) -> Operation:
        """Parse one op and note its line and column."""
        start = self.op_start = self.pos
        op = super().parse_operation()
        return self._locate(op, start)

    def parse_optional_operation(self) -> Operation | None:
        """Parse one op where there is one and note its line and column."""
        start = self.op_start = self.pos
        op = super().parse_optional_operation()
        return op if op is None else self._locate(op, start)

    def _locate(self, op: Operation, start: int) -> Operation:
        line, column = position(self.lexer.input.content, start)
        op.location = FileLineColLoc(StringAttr(self.lexer.input.name), IntAttr(line), IntAttr(column))
        return op


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column (from 1) of the first visible character at or after an offset."""
    while offset < len(text) and text[offset].isspace():
        offset += 1
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def parse_module(text: str, name: str = "<input>") -> ModuleOp:
    """Parse a module from its custom or generic text; it is not verified.

    Args:
        text: The module.
        name: What to call the text in errors, usually its path.

    Raises:
        IRError: The text does not parse.
    """
    parser = _LocatingParser(new_context(), text, name)
    try:
        return parser.parse_module()
    except ParseError as error:
        raise IRError(_parse_problem(error, name)) from None
    except DiagnosticException as error:
        # A type or attribute that is wrong in itself; the parser knows only the op that it has come to.
        line, column = position(text, parser.op_start)
        raise IRError(Problem(where=f"{name}:{line}:{column}", what=" ".join(str(error).split()))) from None
    except RecursionError:
        raise IRError(Problem(where=name, what="regions or expressions are nested too deeply")) from None


def _parse_problem(error: ParseError, name: str) -> Problem:
    content = error.span.input.content
    line, column = position(content if isinstance(content, str) else content.decode(), error.span.start)
    return Problem(where=f"{name}:{line}:{column}", what=" ".join(error.msg.split()))


def print_module(module: ModuleOp, *, generic: bool = False) -> str:
    """The text of a module; `generic` is the form that any MLIR tool reads with unregistered dialects allowed."""
    out = StringIO()
    Printer(out, print_generic_format=generic).print_op(module)
    return out.getvalue() + "\n"
