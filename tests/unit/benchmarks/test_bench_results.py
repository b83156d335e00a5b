"""Medians, ratios and verdicts."""

import pytest

from benchmarks.cases import CASES, ProcessCase, ScenarioCase, at_least, at_most, within
from benchmarks.report import number, ratio
from benchmarks.results import Results, judge
from benchmarks.scenarios import SCENARIOS


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


def test_what_kafka_does_not_go_through_has_only_our_own_figure() -> None:
    case = ScenarioCase("case", "Case", ("p99_growth",), (within("p99_growth", 1.1),), is_compared=False)
    (row,) = judge(case, [], [{"p99_growth": 1.05}]).rows
    assert (row.odradek, row.met, number(row.kafka), ratio(row)) == (1.05, True, "-", "-")


def test_a_run_adds_to_an_earlier_one_that_was_measured_alike() -> None:
    earlier, later = (Results("r", "2026-11-25", {"cpu": "x"}, {"rounds": 3}) for _ in range(2))
    first, second = CASES[1], CASES[2]
    earlier.put(judge(second, [], [], "measured before"))
    earlier.put(judge(first, [], [], "measured before"))
    later.take_over(earlier)
    later.put(judge(second, [], [], "measured again"))
    assert [(case.name, case.error) for case in later.cases] == [
        (first.name, "measured before"),
        (second.name, "measured again"),
    ]
    earlier.settings["rounds"] = 5
    with pytest.raises(ValueError, match="other settings"):
        later.take_over(earlier)


def test_each_scenario_has_its_function() -> None:
    assert SCENARIOS.keys() == {case.name for case in CASES if isinstance(case, ScenarioCase)}


def test_case_that_failed_has_no_rows() -> None:
    result = judge(ProcessCase("case", "Case", ("seconds",)), [{"seconds": 1.0}], [], "broken")
    assert result.rows == []
    assert result.error == "broken"


def test_numbers_keep_three_figures() -> None:
    assert [number(value) for value in (0.1234, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]
