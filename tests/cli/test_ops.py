import json

from gambrel.cost.rules import priced_ops
from gambrel.ir.text import DIALECTS


def test_list_has_every_op_once_with_its_cost(cli):
    result = cli("ops", "list", "--format", "json")
    assert (result.code, result.stderr) == (0, "")
    ops = json.loads(result.stdout)
    names = [op["op"] for op in ops]
    assert sorted(names) == sorted(op.name for dialect in DIALECTS.values() for op in dialect.operations)
    assert {op["op"] for op in ops if op["cost"] == "rule"} == set(priced_ops())
    assert all(op["description"] for op in ops)
    assert all(bool(op["rule"]) == (op["cost"] == "rule") for op in ops)


def test_only_what_a_pass_replaces_has_no_price(cli):
    ops = json.loads(cli("ops", "list", "--format", "json").stdout)
    assert [op["op"] for op in ops if op["cost"] == "unpriced"] == ["dist.reshard"]


def test_list_as_a_table(cli):
    lines = cli("ops", "list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("model.attention ") for line in lines)
