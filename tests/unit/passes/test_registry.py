from dataclasses import dataclass

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from gambrel.errors import IRError, PlanError
from gambrel.ir.pointwise import NormOp
from gambrel.ir.text import DIALECTS, parse_module, print_module
from gambrel.passes import registry
from gambrel.passes.quantize import QuantizePass
from gambrel.passes.registry import PASSES, load_pass, parse_pipeline, pipeline_text, run_pipeline
from gambrel.passes.shard import ShardPass


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_loads_under_its_name_and_says_what_it_does(name):
    kind = load_pass(name)
    assert kind.name == name
    assert kind.__doc__


def test_parses_options_of_every_type():
    assert parse_pipeline("quantize{weights=fp8},shard{strategy=moe-ep axes=tp},shard{axes=dp,tp}") == [
        QuantizePass(weights="fp8"),
        ShardPass("moe-ep", ("tp",)),
        ShardPass(axes=("dp", "tp")),
    ]
    assert parse_pipeline("") == []
    assert parse_pipeline(" shard { axes = dp , tp strategy=megatron } ") == [ShardPass(axes=("dp", "tp"))]


@pytest.mark.parametrize(
    "passes",
    [
        [],
        [ShardPass()],
        [ShardPass("attention-dp-moe-ep", ("dp", "ep"))],
        [QuantizePass(weights="fp8_block", activations="fp8", kv="int8"), ShardPass(axes=("tp",))],
    ],
)
def test_text_of_a_pipeline_parses_to_equal_passes(passes):
    assert parse_pipeline(pipeline_text(passes)) == passes


def test_no_axes_are_not_all_axes():
    text = pipeline_text([ShardPass(axes=())])
    module = ModuleOp([])
    run_pipeline(module, parse_pipeline(text))
    assert "axes []" in print_module(module)


def test_all_mistakes_of_a_pipeline_at_once():
    with pytest.raises(PlanError) as error:
        parse_pipeline("shrad,shard{strategi=x},shard{axes=1},quantize{weights=fp8,fp8}")
    assert [problem.what for problem in error.value.problems] == [
        "unknown pass 'shrad'",
        "unknown option 'strategi'",
        "option 'axes' cannot be 1",
        "option 'weights' cannot be fp8,fp8",
    ]


def test_an_option_given_twice_is_an_error():
    with pytest.raises(PlanError, match="option 'axes' is given twice"):
        parse_pipeline("shard{axes=tp axes=dp}")
    assert len(parse_pipeline("shard{axes=tp},shard{axes=dp}")) == 2


@pytest.mark.parametrize(
    ("text", "column"), [("shard{", 7), ("shard fuse", 6), ("shard}", 6), ("?", 1), ("{a=1}", 1), ("shard{a=1,}", 11)]
)
def test_text_that_is_no_pipeline(text, column):
    with pytest.raises(PlanError, match=rf"pipeline, column {column} of '"):
        parse_pipeline(text)


@dataclass(frozen=True)
class Needy(ModulePass):
    """Has an option without a default."""

    name = "needy"
    count: int

    def apply(self, ctx: Context, op: ModuleOp) -> None: ...


def test_a_missing_option(monkeypatch):
    monkeypatch.setattr(registry, "load_pass", lambda name: Needy)
    with pytest.raises(PlanError, match="option 'count' is missing"):
        parse_pipeline("needy")
    assert parse_pipeline("needy{count=3}") == [Needy(3)]


@dataclass(frozen=True)
class Breaks(ModulePass):
    """Leaves a norm of a kind that does not exist."""

    name = "breaks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in op.walk():
            if isinstance(inner, NormOp):
                inner.properties["kind"] = StringAttr("nrm")


@dataclass(frozen=True)
class Stumbles(ModulePass):
    """Runs into a rule of the IR."""

    name = "stumbles"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        raise VerifyException("mesh axis 'tp' is used twice")


TEXT = """
%x = model.input "x" dims ["batch"] : !model.t<bf16, [b]>
%y = model.norm "rms" %x : (!model.t<bf16, [b]>) -> !model.t<bf16, [b]>
"""


def test_a_pass_that_breaks_the_module_is_named_as_the_culprit():
    with pytest.raises(IRError) as error:
        run_pipeline(parse_module(TEXT), [Breaks()])
    first, second = map(str, error.value.problems)
    assert first == "pass 'breaks': it left a module that does not verify. This is a bug in the pass, not in the input."
    assert "unknown norm 'nrm'" in second


def test_a_pass_that_runs_into_a_rule_is_named_as_the_culprit():
    with pytest.raises(IRError, match=r"pass 'stumbles': mesh axis 'tp' is used twice\. This is a bug in the pass"):
        run_pipeline(parse_module(TEXT), [Stumbles()])


def test_a_module_that_is_wrong_before_the_first_pass_is_not_the_fault_of_a_pass():
    module = parse_module(TEXT.replace("rms", "nrm"))
    with pytest.raises(IRError) as error:
        run_pipeline(module, [Breaks()])
    assert "pass" not in str(error.value)


def test_without_verification_nothing_is_checked():
    module = parse_module(TEXT)
    run_pipeline(module, [Breaks()], verify=False)
    assert '"nrm"' in print_module(module)


def test_after_sees_the_module_after_each_pass():
    seen = []
    module = ModuleOp([])
    passes = parse_pipeline("shard,insert-collectives")
    run_pipeline(module, passes, after=lambda item, current: seen.append((item.name, "dist.mesh" in str(current))))
    assert seen == [("shard", True), ("insert-collectives", True)]


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("shard,quantize", "the module is not placed yet"),
        ("shard,shard", "the module is not placed yet"),
        ("stages", "the module has a mesh"),
        ("shard,fuse", r"no dist\.reshard is left"),
    ],
)
def test_the_order_of_passes_is_checked(text, needs):
    with pytest.raises(PlanError, match=needs):
        run_pipeline(parse_module(TEXT), parse_pipeline(text))


def test_ops_outside_of_phases_are_placed_too():
    module = parse_module(TEXT)
    run_pipeline(module, parse_pipeline("shard,insert-collectives"))
    assert "dist.all_reduce" in print_module(module)


def test_xdsl_opt_sees_the_dialects_and_passes():
    from xdsl.universe import Universe

    from gambrel.passes.universe import GAMBREL

    everything = Universe.get_multiverse()
    assert {name: load() for name, load in GAMBREL.all_dialects.items()} == DIALECTS
    for name in PASSES:
        assert everything.all_passes[name]().name == name
