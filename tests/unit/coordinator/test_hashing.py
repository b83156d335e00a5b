import pytest

from odradek.coordinator.hashing import java_string_hash, partition_for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("hello", 99_162_322),
        ("console-consumer-4711", java_string_hash("console-consumer-471") * 31 + ord("1")),
        ("polygenelubricants", -(2**31)),
        ("ü", 252),
        ("\N{GRINNING FACE}", 1_772_899),
    ],
)
def test_hash_is_that_of_java(text: str, expected: int) -> None:
    assert java_string_hash(text) == (expected + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize(("group_id", "partition"), [("g1", 42), ("simple", 26), ("", 0)])
def test_partition_is_where_kafka_put_it(group_id: str, partition: int) -> None:
    assert partition_for(group_id, 50) == partition


def test_the_smallest_hash_counts_as_zero() -> None:
    assert partition_for("polygenelubricants", 7) == 0
