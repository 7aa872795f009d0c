from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()
CASE = "def test_it(golden):\n    golden('case', {value})\n"


@pytest.fixture
def run_case(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST)
    golden = pytester.mkdir("golden")
    (golden / "case.json").write_text('{"bound": "memory", "tpot_s": [0.02, 1.0]}')

    def run(value: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(CASE.format(value=value))
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)

    return run


def test_numbers_within_tolerance_are_equal(run_case):
    run_case("{'bound': 'memory', 'tpot_s': [0.02 * (1 + 1e-10), 1]}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("{'bound': 'memory', 'tpot_s': [0.022, 1.0]}", "$.tpot_s[[]0]: expected 0.02, got 0.022 (+10.000%)"),
        ("{'bound': 'compute', 'tpot_s': [0.02, 1.0]}", '$.bound: expected "memory", got "compute"'),
        ("{'tpot_s': [0.02, 1.0]}", '$.bound: expected "memory", is missing'),
        ("{'bound': 'memory', 'tpot_s': [0.02, 1.0], 'x': 1}", "$.x: unexpected 1"),
        ("{'bound': 'memory', 'tpot_s': [0.02]}", "$.tpot_s: expected 2 elements, got 1"),
        ("{'bound': 'memory', 'tpot_s': [0.02, True]}", "$.tpot_s[[]1]: expected 1.0, got true"),
    ],
)
def test_each_difference_is_named(run_case, value, line):
    result = run_case(value)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([line])


def test_update_writes_what_then_passes(run_case):
    value = "{'bound': 'compute', 'tpot_s': []}"
    run_case(value, "--update-golden").assert_outcomes(passed=1)
    run_case(value).assert_outcomes(passed=1)
