"""Families as text."""

from prometheus_client.parser import text_string_to_metric_families

from odradek.server.histogram import Histogram
from odradek.server.metrics.exposition import SLICE_ROWS, process_text, slices
from odradek.server.metrics.family import counter, gauge, histogram, single


def text(*families: object) -> str:
    return b"".join(slices(families)).decode()  # type: ignore[arg-type]


def test_gauge_and_counter() -> None:
    shown = text(
        single("a", "An a.", 1),
        counter("b", "Bs.", [((), 3), (("t",), 2)], ["topic"]),
        gauge("c", "Nothing yet.", [], ["x"]),
    )
    assert shown == (
        "# HELP a An a.\n# TYPE a gauge\na 1.0\n"
        '# HELP b_total Bs.\n# TYPE b_total counter\nb_total 3.0\nb_total{topic="t"} 2.0\n'
    )


def test_a_large_family_comes_in_slices_under_one_head() -> None:
    rows = 2 * SLICE_ROWS + 1
    family = gauge("many", "Many.", (((str(number),), number) for number in range(rows)), ["n"])
    pieces = list(slices([family]))
    assert len(pieces) == 3
    assert b"".join(pieces).count(b"# HELP") == 1
    (parsed,) = text_string_to_metric_families(b"".join(pieces).decode())
    assert [sample.value for sample in parsed.samples] == list(range(rows))


def test_buckets_add_up() -> None:
    observed = Histogram((0.1, 1.0))
    for value in (0.05, 0.5, 0.5, 5.0):
        observed.observe(value)
    (parsed,) = text_string_to_metric_families(text(histogram("took_seconds", "Time.", observed)))
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in parsed.samples}
    assert found == {
        ("took_seconds_bucket", "0.1"): 1,
        ("took_seconds_bucket", "1.0"): 3,
        ("took_seconds_bucket", "+Inf"): 4,
        ("took_seconds_sum", None): 6.05,
        ("took_seconds_count", None): 4,
    }


def test_the_process_shows_itself() -> None:
    assert b"process_cpu_seconds_total" in process_text()
