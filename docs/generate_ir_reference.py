"""Writes docs/reference/ir.md from the docstrings and the assembly formats of the ops: run it after changing an op."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from xdsl.ir import Dialect, Operation
from xdsl.irdl import IRDLOperation, OptionalDef, OptOperandDef, OptResultDef, VarOperandDef, VarResultDef
from xdsl.passes import get_pass_option_infos

from gambrel.ir import dist, kv, model, structure
from gambrel.ir.formats import FORMATS
from gambrel.ir.pointwise import MAPS
from gambrel.ir.text import DIALECTS
from gambrel.ir.types import AXES, ExprAttr, TensorType
from gambrel.passes.registry import PASSES, load_pass
from gambrel.passes.strategies import STRATEGIES

PAGE = Path(__file__).parent / "reference" / "ir.md"
MODULES = {"model": model, "kv": kv, "dist": dist, "structure": structure}

HEAD = """# The IR

Every op, type and pass, with its syntax. Made by `python docs/generate_ir_reference.py` from the sources; a test keeps
it current. Why the IR is as it is: [The design](../design.md#the-ir). `gambrel-opt --list-passes` lists the passes too.

In the syntax below `$x` is an operand or property, `attr-dict` holds the optional properties as `{name = value}`, and
`(...)?` may be left out. The generic form (`gambrel-opt --print-op-generic`) is that of MLIR.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD, "\n".join(_types()), *(_dialect(dialect) for dialect in DIALECTS.values()), "\n".join(_passes())]
    return "\n".join(part.strip() + "\n" for part in parts)


def _types() -> Iterator[str]:
    yield "## Types and sizes\n"
    for kind in (TensorType, ExprAttr):
        yield f"### `{kind.name}`\n\n{_prose(kind)}\n"
    yield (
        "Sizes are sums of products of integers, symbols and the calls `ceildiv(a, b)`, `min(...)`, `max(...)`,\n"
        "`hit(given, experts, top_k, tokens)`. Frontends use the symbols `b` (sequences), `s` (new tokens of each)\n"
        "and `c` (cached tokens of each); the size of a mesh axis is the symbol of its name.\n"
    )
    yield (
        f"Mesh axes: {', '.join(f'`{axis}`' for axis in AXES)}. `tp` is `tp_ep x tp_etp` where experts are split\n"
        "inside a tensor-parallel group; `ep x edp` covers the devices of `dp x cp x tp`.\n"
    )
    yield "| number format | bits | elements that share a scale | bits of a scale |\n|---|---|---|---|"
    for item in FORMATS.values():
        yield f"| `{item.name}` | {item.bits} | {item.block or ''} | {item.scale_bits or ''} |"


def _dialect(dialect: Dialect) -> str:
    lines = [f"## Dialect `{dialect.name}`\n", f"{_first_paragraph(MODULES[dialect.name])}\n"]
    for op in dialect.operations:
        lines += _op(op)
    if dialect.name == "model":
        lines += ["### Elementwise functions\n", "| function | operands | FLOPs | linear |", "|---|---|---|---|"]
        lines += [f"| `{n}` | {f.operands} | {f.flops} | {'yes' if f.linear else ''} |" for n, f in MAPS.items()]
    return "\n".join(lines)


def _op(op: type[Operation]) -> list[str]:
    assert issubclass(op, IRDLOperation)
    definition = op.get_irdl_definition()
    lines = [f"### `{op.name}`\n", f"{_prose(op)}\n"]
    syntax = definition.assembly_format
    if syntax is not None:
        lines.append(f"```\n{op.name} {syntax}\n```\n")
    operands = [_counted(name, kind) for name, kind in definition.operands]
    results = [_counted(name, kind) for name, kind in definition.results]
    # the accessor of an op may have another name than the property, which is what the text says
    properties = [
        f"`{name}`" + (" (optional)" if isinstance(kind, OptionalDef) else "")
        for name, kind in definition.properties.items()
    ]
    for title, names in (("Operands", operands), ("Properties", properties), ("Results", results)):
        if names:
            lines.append(f"- {title}: {', '.join(names)}")
    return [*lines, ""]


def _counted(name: str, kind: object) -> str:
    if isinstance(kind, OptOperandDef | OptResultDef):
        return f"`{name}` (optional)"
    return f"`{name}` (any number)" if isinstance(kind, VarOperandDef | VarResultDef) else f"`{name}`"


def _passes() -> Iterator[str]:
    yield "## Passes\n\nIn the order in which a pipeline usually runs them.\n"
    for name, entry in PASSES.items():
        kind = load_pass(name)
        options = " ".join(option.name for option in get_pass_option_infos(kind))
        yield f"### `{name}{f'{{{options}}}' if options else ''}`\n\n{_prose(kind)}\n"
        for title, conditions in (("Requires", entry.requires), ("Ensures", entry.ensures)):
            if conditions:
                yield f"- {title}: {'; '.join(condition.text for condition in conditions)}"
        if entry.requires or entry.ensures:
            yield ""
    yield "### Sharding strategies\n\n| strategy | what it does | source |\n|---|---|---|"
    for strategy in STRATEGIES.values():
        yield f"| `{strategy.name}` | {strategy.summary} | {strategy.source} |"


def _first_paragraph(item: object) -> str:
    """What a module is about, after the name that the heading says already."""
    text = inspect.cleandoc(item.__doc__ or "").partition("\n\n")[0].partition(": ")[2]
    return text[:1].upper() + text[1:]


def _prose(item: object) -> str:
    """A docstring as Markdown: the fields of its sections become list items."""
    out: list[str] = []
    in_section = False
    for line in inspect.cleandoc(item.__doc__ or "").splitlines():
        title = re.fullmatch(r"(Properties|Options|Attributes):", line)
        field = re.fullmatch(r"    (\w+): (.*)", line)
        if title:
            in_section = True
            out += [f"{title[1]}:", ""]
        elif in_section and field:
            out.append(f"- `{field[1]}`: {field[2]}")
        elif in_section and line.startswith("     "):
            out.append(f"  {line.strip()}")
        else:
            in_section = in_section and not line.strip()
            out.append(line)
    return "\n".join(out)


if __name__ == "__main__":
    PAGE.write_text(page())
