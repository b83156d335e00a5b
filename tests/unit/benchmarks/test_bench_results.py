"""Medians, ratios and verdicts."""

from benchmarks.cases import ProcessCase, at_least, at_most, within
from benchmarks.report import number
from benchmarks.results import judge


def test_ratio_of_medians_is_held_against_the_targets() -> None:
    case = ProcessCase(
        "case", "Case", ("cpu_us", "mb_s", "p99_us"), (at_most("cpu_us", 0.5), at_least("mb_s", 2))
    )
    kafka = [{"cpu_us": value, "mb_s": 100.0, "p99_us": 5.0} for value in (90.0, 100.0, 500.0)]
    odradek = [{"cpu_us": value, "mb_s": 150.0, "p99_us": 5.0} for value in (1.0, 50.0, 60.0)]
    rows = judge(case, kafka, odradek).rows
    assert [(row.metric, row.ratio, row.target, row.met) for row in rows] == [
        ("cpu_us", 0.5, "≤ 0.5", True),
        ("mb_s", 1.5, "≥ 2", False),
        ("p99_us", 1.0, "", None),
    ]


def test_a_target_may_bound_our_own_figure() -> None:
    case = ProcessCase("case", "Case", ("join_s",), (within("join_s", 6.0),))
    (row,) = judge(case, [{"join_s": 1.0}], [{"join_s": 5.5}]).rows
    assert (row.ratio, row.target, row.met) == (5.5, "≤ 6.0 itself", True)


def test_case_that_failed_has_no_rows() -> None:
    result = judge(ProcessCase("case", "Case", ("seconds",)), [{"seconds": 1.0}], [], "broken")
    assert result.rows == []
    assert result.error == "broken"


def test_numbers_keep_three_figures() -> None:
    assert [number(value) for value in (0.1234, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]
