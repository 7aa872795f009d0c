"""Verification and text of whole modules; each kind of problem is one screen in tests/filecheck."""

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region

from gambrel.errors import IRError
from gambrel.ir.dist import MeshOp
from gambrel.ir.model import InputOp
from gambrel.ir.pointwise import NormOp
from gambrel.ir.structure import PhaseOp, YieldOp
from gambrel.ir.text import parse_module, position, print_module
from gambrel.ir.verify import describe, verify_module

X = '%x = model.input "x" dims ["batch"] : !model.t<bf16, [b{tp}]>\n'


def problems(module):
    with pytest.raises(IRError) as error:
        verify_module(module)
    return [str(problem) for problem in error.value.problems]


def phase(*ops):
    return PhaseOp("decode", Region(Block(ops=[*ops, YieldOp()])))


def test_a_value_of_another_region_is_not_defined(kind):
    x = InputOp("x", ["batch"], kind("bf16, [b]"))
    module = ModuleOp([phase(x), phase(NormOp("rms", x.res, label="late"))])
    assert problems(module) == [
        "structure.phase 'decode' > model.norm 'late': operand 0 is used before it is defined: "
        "a value must be computed earlier in the same region or in one around it."
    ]


def test_a_value_of_a_region_around_is_defined(kind):
    x = InputOp("x", ["batch"], kind("bf16, [b]"))
    verify_module(ModuleOp([x, phase(NormOp("rms", x.res))]))


def test_an_op_cannot_use_its_own_result():
    module = parse_module('%x = model.norm "rms" %x : (!model.t<bf16, [b]>) -> !model.t<bf16, [b]>')
    assert "operand 0 is used before it is defined" in problems(module)[0]


def test_axes_need_a_mesh():
    assert problems(parse_module(X)) == [
        "<input>:1:1: model.input 'x': mesh axis 'tp' is not declared. "
        "Add it to the axes of dist.mesh (declared: none)."
    ]
    verify_module(parse_module('dist.mesh "by hand" axes ["tp"]\n' + X))


def test_one_mesh():
    module = ModuleOp([MeshOp("a", ["tp"]), MeshOp("b", ["dp"])])
    assert problems(module) == ["dist.mesh: a module has one mesh. Remove the second dist.mesh."]


def test_ops_without_text_are_named_by_their_regions(kind):
    x = InputOp("x", ["batch"], kind("bf16, [b]"))
    ModuleOp([phase(x)])
    assert describe(x) == "structure.phase 'decode' > model.input 'x'"


def test_the_module_itself_has_a_name():
    assert describe(ModuleOp([])) == "module"


def test_positions_survive_a_change_of_type():
    module = parse_module(f'dist.mesh "m" axes ["tp"]\n  {X}', "model.mlir")
    assert describe(list(module.ops)[1]) == "model.mlir:2:3: model.input 'x'"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("builtin.module {\n  what", "f.mlir:2:"),
        ('%x = model.input "x" dims ["b"] : !model.t<bf16, [b', "f.mlir:1:"),
        ('\n%x = model.input "x" dims ["b"] : !model.t<bf17, [b]>', "f.mlir:2:1: unknown number format 'bf17'"),
        ('%x = model.input "x" dims ["b"] : !model.t<bf16, [ceildiv(b, 0)]>', "f.mlir:1:"),
        ('%x = model.input "x" dims ["b"] : !model.t<bf16, [' + "min(" * 5000, "f.mlir: regions or expressions"),
        ('"no.such"() : () -> ()', "f.mlir:1:"),
    ],
)
def test_text_that_does_not_parse_is_one_error(text, where):
    with pytest.raises(IRError) as error:
        parse_module(text, "f.mlir")
    (problem,) = error.value.problems
    assert str(problem).startswith(where)


def test_position_is_that_of_the_first_visible_character():
    assert position("ab\n  cd", 0) == (1, 1)
    assert position("ab\n  cd", 2) == (2, 3)
    assert position("ab\n  cd", 6) == (2, 4)


def test_print_and_parse():
    module = parse_module('dist.mesh "by hand" axes ["tp"]\n' + X)
    for generic in (False, True):
        text = print_module(module, generic=generic)
        assert print_module(parse_module(text), generic=generic) == text
        assert parse_module(text).is_structurally_equivalent(module)
