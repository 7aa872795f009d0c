"""`gambrel ops`: the operations of the IR."""

from gambrel.cli.output import Format, print_json, print_table
from gambrel.cost.extract import CONTAINERS, DECLARATIONS
from gambrel.cost.rules import priced_ops
from gambrel.ir.text import DIALECTS


def list_(*, format: Format = "table") -> None:
    """List the operations of the IR.

    Args:
        format: A table for people, or JSON.
    """
    rules = priced_ops()
    costs = dict.fromkeys(rules, "rule")
    costs |= {op.name: "no kernel" for op in DECLARATIONS} | {op.name: "its ops" for op in CONTAINERS}
    records = [
        {
            "op": op.name,
            "description": " ".join((op.__doc__ or "").partition("\n\n")[0].split()),
            "cost": costs.get(op.name, "unpriced"),
            "rule": rules.get(op.name, ""),
        }
        for dialect in DIALECTS.values()
        for op in sorted(dialect.operations, key=lambda op: op.name)
    ]
    if format == "json":
        print_json(records)
        return
    rows = [(record["op"], record["cost"], record["description"]) for record in records]
    print_table(("op", "cost", "what it is"), rows)
