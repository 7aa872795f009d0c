"""`gambrel compile`: the IR that an estimate is made from, after any pass, or its cost table."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gambrel.cli.output import print_json, print_report, writing_to
from gambrel.cli.question import Counts, PlanOptions, Repeated, WorkloadOptions, read_one
from gambrel.errors import PlanError, Problem, UsageError
from gambrel.estimation.api import structure_of
from gambrel.estimation.variant import Structure, build_module, compile_variant
from gambrel.frontends.architecture import Architecture
from gambrel.frontends.lower import Lowering, lower

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

_LOWER = "lower"
"""What stands for the module before all passes."""

Emit = Literal["mlir", "mlir-generic", "rows"]


def compile_(
    model: str,
    /,
    *,
    on: str | None = None,
    devices: Counts = None,
    workload: WorkloadOptions = WorkloadOptions(),  # noqa: B008  (frozen)
    plan: PlanOptions = PlanOptions(),  # noqa: B008
    set: Repeated = (),
    allow_unpriced: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    emit: Emit = "mlir",
    print_ir_after: str | None = None,
    format: Literal["text", "json"] = "text",
    output: Annotated[Path | None, Parameter(name=("-o", "--output"))] = None,
) -> None:
    """Print the IR that an estimate is made from, or its cost table.

    Args:
        model: A name of the library (`gambrel models list`), a config.json, or its folder.
        on: A hardware profile: a shipped name (`gambrel hw list`) or a YAML file.
        devices: How many to use [default: what the degrees of the plan take].
        workload: The batch; all that it decides is whether the plan can run.
        plan: How the model is split and stored.
        set: Change a number of the profile: `memory.hbm.bandwidth=2x`, `+10%`, or a quantity. May be repeated.
        allow_unpriced: Let ops without a cost rule pass as rows without a kernel.
        emit: The module, the module in the form that any MLIR tool reads, or the cost table.
        print_ir_after: Also print the module to stderr after this pass, after `lower` (before all), or after `all`.
        format: Of the cost table: text for people, or JSON.
        output: Write to this file.
    """
    if format == "json" and emit != "rows":
        raise UsageError(Problem(where="--format", what=f"json is not a form of {emit}", fix="Use --emit rows"))
    question = read_one(workload, plan, devices, "compile")
    asked, planned = question.one()
    architecture, structure = structure_of(
        model, on, plan=planned, workload=asked, devices=question.devices, overrides=set
    )
    shown = _shown_passes(print_ir_after, structure)
    with writing_to(output):
        if emit == "rows":
            _emit_rows(architecture, structure, shown, allow_unpriced, format)
        else:
            _emit_module(architecture, structure, shown, emit)


def _emit_module(architecture: Architecture, structure: Structure, shown: frozenset[str], emit: Emit) -> None:
    from gambrel.ir.text import print_module
    from gambrel.ir.verify import verify_module

    generic = emit == "mlir-generic"
    module = _build(architecture, structure, shown, generic)
    verify_module(module)
    print(print_module(module, generic=generic), end="")


def _emit_rows(
    architecture: Architecture, structure: Structure, shown: frozenset[str], allow_unpriced: bool, format: str
) -> None:
    from gambrel.report.rows import row_records, rows_report

    if shown:
        _build(architecture, structure, shown, generic=False)
    variant = compile_variant(architecture, structure, allow_unpriced=allow_unpriced)
    if format == "json":
        print_json(row_records(variant.program.table))
    else:
        print_report(rows_report(variant))


def _build(architecture: Architecture, structure: Structure, shown: frozenset[str], generic: bool) -> "ModuleOp":
    from gambrel.ir.text import print_module

    def show(name: str, text: str, module: "ModuleOp") -> None:
        if name in shown:
            print(f"// -----// IR after {text} //----- //", file=sys.stderr)
            print(print_module(module, generic=generic), end="", file=sys.stderr)

    def after(item: "ModulePass", module: "ModuleOp") -> None:
        show(item.name, str(item), module)

    show(_LOWER, _LOWER, lower(architecture, Lowering(format=structure.format)))
    return build_module(architecture, structure, after)


def _shown_passes(wanted: str | None, structure: Structure) -> frozenset[str]:
    """Names of the passes (and of the lowering before them) after which the module is printed.

    Raises:
        PlanError: The pipeline has no pass of that name.
    """
    names = [_LOWER, *(item.name for item in structure.pipeline())]
    if wanted is None or wanted == "all":
        return frozenset(names if wanted else ())
    if wanted not in names:
        what = f"the pipeline of this plan has no pass '{wanted}'"
        raise PlanError(Problem(where="--print-ir-after", what=what, fix=f"Give all, {', '.join(names)}"))
    return frozenset((wanted,))
