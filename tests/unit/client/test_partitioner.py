"""Known hashes are those of Kafka's own UtilsTest."""

import pytest

from odradek.client.partitioner import StickyPartitions, murmur2, partition_for_key


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_a_key_always_goes_to_one_partition() -> None:
    assert partition_for_key(b"foobar", 7) == (-790332482 & 0x7FFFFFFF) % 7
    assert partition_for_key(b"", 3) in range(3)


def test_keyless_records_fill_one_batch_before_they_turn() -> None:
    sticky = StickyPartitions(3, batch_bytes=10, first=4)
    assert [sticky.next_partition(5) for _ in range(6)] == [1, 1, 2, 2, 0, 0]


def test_a_sent_batch_turns_once() -> None:
    sticky = StickyPartitions(2, batch_bytes=100)
    assert sticky.next_partition(1) == 0
    sticky.turn()
    sticky.turn()
    assert sticky.next_partition(1) == 1
