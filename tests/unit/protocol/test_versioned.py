import pytest

from odradek.protocol.generated.consumer_protocol import ConsumerProtocolSubscription
from odradek.protocol.generated.group_metadata import GroupMetadataKey
from odradek.protocol.generated.offset_commit import OffsetCommitKey, OffsetCommitValue
from odradek.protocol.primitives import MalformedError
from odradek.protocol.versioned import (
    decode_record_key,
    decode_versioned,
    encode_record_key,
    encode_versioned,
    read_version,
)


def test_a_value_carries_its_version() -> None:
    value = OffsetCommitValue(offset=5, metadata="m", commit_timestamp=7)
    raw = encode_versioned(value, 3)
    assert raw[:2] == b"\0\x03"
    assert decode_versioned(OffsetCommitValue, raw) == value
    assert decode_versioned(OffsetCommitValue, memoryview(raw)) == value


def test_a_key_carries_its_record_type() -> None:
    key = OffsetCommitKey(group="g", topic="t", partition=2)
    raw = encode_record_key(key)
    assert raw == b"\0\x01" + b"\0\x01g" + b"\0\x01t" + b"\0\0\0\x02"
    assert read_version(raw) == 1
    assert decode_record_key(OffsetCommitKey, raw) == key
    assert encode_record_key(GroupMetadataKey(group="g")) == b"\0\x02" + b"\0\x01g"


def test_a_client_subscription() -> None:
    raw = encode_versioned(ConsumerProtocolSubscription(topics=["a", "b"]), 0)
    assert raw == b"\0\0" + b"\0\0\0\x02" + b"\0\x01a" + b"\0\x01b" + b"\xff\xff\xff\xff"


@pytest.mark.parametrize("raw", [b"", b"\0"])
def test_without_a_version(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        read_version(raw)
    with pytest.raises(MalformedError):
        decode_versioned(OffsetCommitValue, raw)
    with pytest.raises(MalformedError):
        decode_record_key(OffsetCommitKey, raw)


def test_an_unknown_version_is_malformed() -> None:
    with pytest.raises(MalformedError, match="99"):
        decode_versioned(OffsetCommitValue, b"\0\x63" + bytes(30))


def test_a_cut_record_is_malformed() -> None:
    raw = encode_versioned(OffsetCommitValue(offset=5, metadata="m"), 3)
    for size in range(len(raw)):
        with pytest.raises(MalformedError):
            decode_versioned(OffsetCommitValue, raw[:size])
