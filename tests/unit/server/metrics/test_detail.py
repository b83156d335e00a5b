"""The cardinality switch."""

from types import SimpleNamespace

import pytest

from odradek.server.metrics.detail import Detail, choose


@pytest.mark.parametrize(
    ("wanted", "topics", "partitions_each", "chosen"),
    [
        ("broker", 1, 1, Detail(False, False)),
        ("topic", 5_000, 1, Detail(True, False)),
        ("partition", 5_000, 1, Detail(True, True)),
        ("auto", 100, 10, Detail(True, True)),
        ("auto", 1_000, 2, Detail(True, False)),
        ("auto", 1_001, 1, Detail(False, False)),
    ],
)
def test_detail(wanted: str, topics: int, partitions_each: int, chosen: Detail) -> None:
    by_name = {str(n): SimpleNamespace(partitions=range(partitions_each)) for n in range(topics)}
    assert choose(wanted, SimpleNamespace(by_name=by_name)) == chosen  # type: ignore[arg-type]
