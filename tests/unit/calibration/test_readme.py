"""The README shows the errors that the results hold."""

from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_table_is_the_one_of_the_results():
    _, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- accuracy: generated -->\n")
    table = rest.partition("\n<!-- accuracy: end -->")[0]
    assert table.count("\n") >= 6, "one line for each family"
    results = (ROOT / "benchmarks" / "accuracy" / "RESULTS.md").read_text(encoding="utf-8")
    assert f"\n{table}\n" in results, "run python -m benchmarks.accuracy.kernels --write"
