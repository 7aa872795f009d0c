"""Verification of a whole module: every op's own rules, and that values are defined before they are used."""

from collections.abc import Iterator

from xdsl.dialects.builtin import FileLineColLoc, ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.utils.exceptions import DiagnosticException

from gambrel.errors import IRError, Problem, did_you_mean
from gambrel.ir.dist import MeshOp
from gambrel.ir.types import TensorType

OWN_DIALECTS = ("model", "kv", "dist", "structure")


def verify_module(module: ModuleOp) -> None:
    """Check a module.

    Raises:
        IRError: With all problems that were found, each with the op, its label and its position in the text.
    """
    problems = [*_op_problems(module), *_dominance_problems(module), *_mesh_problems(module)]
    if problems:
        raise IRError(*problems)


def describe(op: Operation) -> str:
    """Where an op is: its position in the text where it has one, the regions around it, its name and its label."""
    names: list[str] = []
    current: Operation | None = op
    while current is not None and not isinstance(current, ModuleOp):
        names.insert(0, _name(current))
        current = current.parent_op()
    path = " > ".join(names) or "module"
    location = op.location
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}:{location.column.data}: {path}"
    return path


def _name(op: Operation) -> str:
    for key in ("phase", "label"):
        value = op.properties.get(key)
        if isinstance(value, StringAttr):
            return f"{op.name} '{value.data}'"
    return op.name


def _op_problems(module: ModuleOp) -> Iterator[Problem]:
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except DiagnosticException as error:
            yield Problem(where=describe(op), what=_first_line(str(error)))
        if op.attributes and op.name.partition(".")[0] in OWN_DIALECTS:
            # Our ops keep everything in properties, so an attribute is a misspelt property that would have no effect.
            name = sorted(op.attributes)[0]
            known = type(op).get_irdl_definition().properties if isinstance(op, IRDLOperation) else {}
            yield Problem(
                where=describe(op), what=f"unknown attribute '{name}'", fix=did_you_mean(name, known) if known else ""
            )


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "does not verify"


def _dominance_problems(module: ModuleOp) -> Iterator[Problem]:
    yield from _undefined_uses(module, set())


def _undefined_uses(op: Operation, outer: set[SSAValue]) -> Iterator[Problem]:
    for region in op.regions:
        for block in region.blocks:
            defined = outer | set(block.args)
            for inner in block.ops:
                for number, operand in enumerate(inner.operands):
                    if operand not in defined:
                        yield Problem(
                            where=describe(inner),
                            what=f"operand {number} is used before it is defined",
                            why="a value must be computed earlier in the same region or in one around it",
                        )
                yield from _undefined_uses(inner, defined)
                defined.update(inner.results)


def _mesh_problems(module: ModuleOp) -> Iterator[Problem]:
    meshes = [op for op in module.ops if isinstance(op, MeshOp)]
    if len(meshes) > 1:
        yield Problem(where=describe(meshes[1]), what="a module has one mesh", fix="Remove the second dist.mesh")
    declared = set(meshes[0].axis_names) if meshes else set[str]()
    for op in module.walk():
        for result in op.results:
            kind = result.type
            if isinstance(kind, TensorType):
                used = {axis for dim in kind.dims for axis in dim.axes} | set(kind.partial)
                if not used <= declared:
                    axis = sorted(used - declared)[0]
                    yield Problem(
                        where=describe(op),
                        what=f"mesh axis '{axis}' is not declared",
                        fix=f"Add it to the axes of dist.mesh (declared: {', '.join(sorted(declared)) or 'none'})",
                    )
