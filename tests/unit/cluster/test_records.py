"""Records ↔ bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.cluster.records import (
    BrokerRegistered,
    ClusterCreated,
    ConfigChanged,
    FeatureChanged,
    MalformedRecordError,
    PartitionCreated,
    ProducerIdsAllocated,
    Record,
    TopicCreated,
    TopicDeleted,
    UnknownRecordError,
    decode_records,
    encode_records,
)

numbers = st.integers(min_value=0, max_value=2**63 - 1)
texts = st.text(max_size=30)
ids = st.binary(min_size=16, max_size=16)
brokers = st.lists(numbers, max_size=4).map(tuple)
records = st.one_of(
    st.builds(ClusterCreated, texts),
    st.builds(BrokerRegistered, numbers, st.none() | texts, st.booleans()),
    st.builds(TopicCreated, texts, ids),
    st.builds(PartitionCreated, ids, numbers, numbers, brokers, brokers, numbers, numbers),
    st.builds(TopicDeleted, ids),
    st.builds(ConfigChanged, numbers, texts, texts, st.none() | texts),
    st.builds(ProducerIdsAllocated, numbers, numbers),
    st.builds(FeatureChanged, texts, numbers),
)


@given(st.lists(records, max_size=5))
def test_round_trip(batch: list[Record]) -> None:
    assert decode_records(encode_records(batch), len(batch)) == batch


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=10))
def test_garbage_has_one_way_to_fail(data: bytes, count: int) -> None:
    with contextlib.suppress(MalformedRecordError, UnknownRecordError):
        decode_records(data, count)


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_truncated(batch: list[Record], data: st.DataObject) -> None:
    encoded = encode_records(batch)
    end = data.draw(st.integers(min_value=0, max_value=len(encoded) - 1))
    with pytest.raises(MalformedRecordError):
        decode_records(encoded[:end], len(batch))


def test_unknown_kind_stops_the_reader() -> None:
    with pytest.raises(UnknownRecordError, match="type 200 version 0"):
        decode_records(b"\xc8\x00\x00\x00\x00\x00", 1)
    with pytest.raises(UnknownRecordError, match="type 5 version 1"):
        decode_records(b"\x05\x01\x00\x00\x00\x10" + bytes(16), 1)


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(MalformedRecordError, match="left behind"):
        decode_records(encode_records([ClusterCreated("a")]) + b"x", 1)


def test_a_lying_list_length_allocates_nothing() -> None:
    body = bytes(16) + b"\x00\x01" + b"\xff\xff\xff\xff\x7f"
    with pytest.raises(MalformedRecordError, match="list"):
        decode_records(b"\x04\x00" + len(body).to_bytes(4, "big") + body, 1)
