"""Which bucket a duration falls into."""

from odradek.server.histogram import Histogram


def test_a_bound_belongs_to_its_own_bucket_and_the_last_one_takes_the_rest() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert histogram.count == 4
    assert histogram.sum == 10.0
