"""The small text files, as Kafka writes them and as it does not."""

import pytest

from odradek.core.ids import TopicPartition, id_from_text
from odradek.records.crc import crc32c
from odradek.storage import checkpoints


def test_offsets() -> None:
    offsets = {TopicPartition("a", 0): 5, TopicPartition("b-c.d", 12): 1 << 60}
    content = checkpoints.encode_offsets(offsets)
    lines = b"a 0 5\nb-c.d 12 1152921504606846976"
    assert content == b"0\n3\n%b\nodradek/crc32c 0 %d\n" % (lines, crc32c(lines))
    assert checkpoints.decode_offsets(b"0\n2\n%b\n" % lines) == offsets, "Kafka's have none"
    assert checkpoints.decode_offsets(content) == offsets
    assert checkpoints.decode_offsets(b"") == {}


@pytest.mark.parametrize(
    "content", [b"1\n0\n", b"0\n1\n", b"0\n1\na 0\n", b"0\n1\na b c\n", b"0\n", b"x", b"\xff"]
)
def test_malformed_offsets(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        checkpoints.decode_offsets(content)


def test_epochs() -> None:
    assert checkpoints.encode_epochs([(0, 0), (3, 17)]) == b"0\n2\n0 0\n3 17\n"
    assert checkpoints.decode_epochs(b"0\n2\n0 0\n3 17\n") == [(0, 0), (3, 17)]
    with pytest.raises(ValueError, match="ascend"):
        checkpoints.decode_epochs(b"0\n2\n3 17\n0 0\n")


def test_partition_metadata() -> None:
    topic_id = id_from_text("lWPwmj5oSX-h2VqmkrYlpg")
    content = b"version: 0\ntopic_id: lWPwmj5oSX-h2VqmkrYlpg"
    assert checkpoints.encode_partition_metadata(topic_id) == content
    assert checkpoints.decode_partition_metadata(content) == topic_id
    for bad in (b"version: 1\ntopic_id: lWPwmj5oSX-h2VqmkrYlpg", b"version: 0\n", b"version: 0\ntopic_id: x"):
        with pytest.raises(ValueError):  # noqa: PT011
            checkpoints.decode_partition_metadata(bad)


def test_properties() -> None:
    content = b"#\n#Tue Nov 24 02:43:17 UTC 2026\n! note\nnode.id=1\ncluster.id = a=b\n\n"
    assert checkpoints.decode_properties(content) == {"node.id": "1", "cluster.id": "a=b"}
    assert checkpoints.encode_properties({"b": "2", "a": "1"}) == b"a=1\nb=2\n"


def test_clean_shutdown() -> None:
    assert checkpoints.encode_clean_shutdown(12) == b'{"version":0,"brokerEpoch":12}'
    assert checkpoints.decode_clean_shutdown(b'{"version":0,"brokerEpoch":12}') == 12
    for content in (b"", b'{"version":0}'):
        assert checkpoints.decode_clean_shutdown(content) == -1
    for content in (b"{}", b"[]", b"\xff", b'{"version":1,"brokerEpoch":12}'):
        with pytest.raises(ValueError):  # noqa: PT011
            checkpoints.decode_clean_shutdown(content)


def test_every_flipped_bit_of_an_offset_checkpoint_is_noticed_or_harmless() -> None:
    offsets = {TopicPartition("t", 0): 12, TopicPartition("u-1", 3): 1 << 40}
    content = checkpoints.encode_offsets(offsets)
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            try:
                found = checkpoints.decode_offsets(bytes(flipped))
            except ValueError:
                continue
            assert {name: found[name] for name in offsets} == offsets, flipped
