"""Passes by name, and pipelines of them: from text, to text, and applied with a check after each pass.

A pipeline is written as xDSL writes it: `quantize{weights=fp8},shard{strategy=megatron axes=dp,tp},insert-collectives`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import NamedTuple, get_type_hints

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, ParameterListType
from xdsl.utils.arg_spec import parse_pipeline as parse_specs
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException
from xdsl.utils.hints import isa, type_repr

from gambrel.errors import IRError, PlanError, Problem, did_you_mean
from gambrel.ir.dist import MeshOp, ReshardOp
from gambrel.ir.structure import GroupOp, StageOp
from gambrel.ir.verify import verify_module


class Condition(NamedTuple):
    """Something that a pass needs or promises of a whole module.

    Attributes:
        text: What holds, in words.
        holds: Whether it does.
        fix: What to do where it does not.
    """

    text: str
    holds: Callable[[ModuleOp], bool]
    fix: str = ""


class PassEntry(NamedTuple):
    """Where a pass lives, so that it is imported when it is used, and what it needs and promises beyond verified IR."""

    target: str
    requires: tuple[Condition, ...] = ()
    ensures: tuple[Condition, ...] = ()


def _placed(module: ModuleOp) -> bool:
    return any(isinstance(op, MeshOp) for op in module.ops)


def _unplaced(module: ModuleOp) -> bool:
    return not _placed(module)


def _lowered(module: ModuleOp) -> bool:
    return not any(isinstance(op, ReshardOp) for op in module.walk())


def _unfused(module: ModuleOp) -> bool:
    return not any(isinstance(op, GroupOp) for op in module.walk())


def _unstaged(module: ModuleOp) -> bool:
    return not any(isinstance(op, StageOp) for op in module.walk())


_UNPLACED = Condition("the module is not placed yet", _unplaced, "Put this pass before shard")
_PLACED = Condition("the module has a mesh", _placed, "Put shard before this pass")
_LOWERED = Condition("no dist.reshard is left", _lowered, "Put insert-collectives before this pass")
_UNFUSED = Condition("no ops are grouped yet", _unfused, "Run fuse once, after the other passes")
_UNSTAGED = Condition("layers are not dealt to stages yet", _unstaged, "Run stages once, after shard")

PASSES: Mapping[str, PassEntry] = {
    "quantize": PassEntry("gambrel.passes.quantize:QuantizePass", requires=(_UNPLACED, _UNFUSED)),
    "shard": PassEntry("gambrel.passes.shard:ShardPass", requires=(_UNPLACED, _UNSTAGED, _UNFUSED), ensures=(_PLACED,)),
    "insert-collectives": PassEntry(
        "gambrel.passes.insert_collectives:InsertCollectivesPass", requires=(_UNFUSED,), ensures=(_LOWERED,)
    ),
    "stages": PassEntry("gambrel.passes.stages:StagesPass", requires=(_PLACED, _UNSTAGED)),
    "fuse": PassEntry("gambrel.passes.fuse:FusePass", requires=(_LOWERED, _UNFUSED)),
}
"""All passes by name, in the order in which a pipeline usually runs them."""


def load_pass(name: str) -> type[ModulePass]:
    """Import a pass.

    Raises:
        PlanError: There is none of that name.
    """
    if name not in PASSES:
        raise PlanError(Problem(where="pipeline", what=f"unknown pass '{name}'", fix=did_you_mean(name, PASSES)))
    module, _, attribute = PASSES[name].target.partition(":")
    return getattr(import_module(module), attribute)


def parse_pipeline(text: str) -> list[ModulePass]:
    """Build the passes that a pipeline names; no text is no passes.

    Raises:
        PlanError: The text is no pipeline, or with all unknown passes and options and all values of a wrong type.
    """
    # Blanks around punctuation are for people; xDSL's lexer takes a blank for the next option.
    compact = re.sub(r"\s*([,{}=])\s*", r"\1", text.strip())
    try:
        specs = list(parse_specs(compact))
    except ArgSpecParseError as error:
        # Its text is a headline, the position, the pipeline, a caret and the message.
        _, position, shown, *_, message = str(error).strip().splitlines()
        where = f"pipeline, column {position.rpartition(':')[2]} of '{shown}'"
        raise PlanError(Problem(where=where, what=message.strip())) from None
    problems = [problem for spec in specs for problem in _spec_problems(spec)]
    problems += [Problem(where="pipeline", what=f"option '{name}' is given twice") for name in _repeated(compact)]
    if problems:
        raise PlanError(*problems)
    return [load_pass(spec.name).from_spec(spec) for spec in specs]


def _repeated(compact: str) -> Iterator[str]:
    """Options that one pass is given more than once; xDSL's parser would keep the last."""
    for options in re.findall(r"\{([^{}]*)\}", compact):
        names = [option.partition("=")[0] for option in options.split()]
        yield from sorted({name for name in names if names.count(name) > 1})


def _spec_problems(spec: ArgSpec) -> list[Problem]:
    try:
        kind = load_pass(spec.name)
    except PlanError as error:
        return list(error.problems)
    where = f"pass '{spec.name}'"
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind)}
    problems: list[Problem] = []
    for option, value in spec.parameters.items():
        field = option.replace("-", "_")
        if field not in known:
            fix = did_you_mean(field, known) if known else "It takes no options"
            problems.append(Problem(where=where, what=f"unknown option '{option}'", fix=fix))
        elif not _fits(value, known[field]):
            got = ",".join(map(str, value)) or "nothing"
            what = f"option '{option}' cannot be {got}"
            problems.append(Problem(where=where, what=what, why=f"it takes {type_repr(known[field])}"))
    missing = kind.required_fields() - {name.replace("-", "_") for name in spec.parameters}
    return problems + [Problem(where=where, what=f"option '{option}' is missing") for option in sorted(missing)]


def _fits(value: ParameterListType, hint: type) -> bool:
    """Whether xDSL converts these values to a field of that type."""
    return isa(value, hint) or (len(value) == 1 and isa(value[0], hint)) or (not value and isa(None, hint))


def pipeline_text(passes: Sequence[ModulePass]) -> str:
    """The text from which `parse_pipeline` builds equal passes; options that have their default are left out."""
    return ",".join(_pass_text(item) for item in passes)


def _pass_text(item: ModulePass) -> str:
    spec = item.spec()
    # An empty list would print like None, as a name without a value.
    empty = {name: ("",) for name, value in spec.parameters.items() if getattr(item, name) == () and not value}
    return str(ArgSpec(spec.name, {**spec.parameters, **empty})) if empty else str(spec)


def run_pipeline(
    module: ModuleOp,
    passes: Sequence[ModulePass],
    *,
    verify: bool = True,
    after: Callable[[ModulePass, ModuleOp], None] | None = None,
) -> None:
    """Apply passes in place.

    Args:
        module: What to rewrite.
        passes: In order.
        verify: Check the module before the first pass and after each one.
        after: Called after each pass with the pass and the module, before the check.

    Raises:
        IRError: The module did not verify at the start; or a pass broke it, which the text calls a bug of that pass.
        PlanError: A pass cannot run on this module or with these options.
    """
    if verify:
        verify_module(module)
    for item in passes:
        _apply(item, module)
        if after is not None:
            after(item, module)
        if verify:
            _check(item, module)


def _apply(item: ModulePass, module: ModuleOp) -> None:
    entry = PASSES.get(item.name, PassEntry(""))
    failed = [condition for condition in entry.requires if not condition.holds(module)]
    if failed:
        what = "it cannot run on this module"
        raise PlanError(
            *(Problem(where=f"pass '{item.name}'", what=what, why=f"it needs that {c.text}", fix=c.fix) for c in failed)
        )
    try:
        item.apply(Context(), module)
    except DiagnosticException as error:
        raise IRError(_bug(item, " ".join(str(error).split()))) from error


def _check(item: ModulePass, module: ModuleOp) -> None:
    try:
        verify_module(module)
    except IRError as error:
        raise IRError(_bug(item, "it left a module that does not verify"), *error.problems) from error
    for condition in PASSES.get(item.name, PassEntry("")).ensures:
        if not condition.holds(module):
            raise IRError(_bug(item, f"it promises that {condition.text}, which does not hold"))


def _bug(item: ModulePass, what: str) -> Problem:
    return Problem(where=f"pass '{item.name}'", what=what, fix="This is a bug in the pass, not in the input")
