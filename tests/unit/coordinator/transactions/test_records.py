"""Records as Kafka wrote them, and what cannot be read."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.transactions import records
from odradek.coordinator.transactions.shard import TransactionShard
from odradek.coordinator.transactions.transaction import State, Transaction, new_transaction
from odradek.protocol.generated.transaction_log import TransactionLogValue
from odradek.protocol.primitives import MalformedError
from odradek.protocol.versioned import encode_versioned
from odradek.records.batch import iterate_batches
from odradek.records.record import read_records

KAFKA_LOG = Path(__file__).parent / "kafka_transactions_19.b64"
"""Partition 19 of a ``__transaction_state`` that Kafka 4.3 wrote: three transactions of one producer, ended
in both versions."""


def kafka_records() -> Iterator[tuple[bytes, bytes]]:
    log = base64.b64decode(KAFKA_LOG.read_text())
    for position, header in iterate_batches(log):
        for record in read_records(log[position : position + header.size]):
            yield bytes(record.key or b""), bytes(record.value or b"")


def test_a_partition_of_kafka_is_replayed() -> None:
    shard = TransactionShard(TransactionSettings(), lambda: 2)
    states = []
    for offset, (key, value) in enumerate(kafka_records()):
        shard.replay(offset, -1, key, value)
        (transaction,) = shard.transactions.values()
        states.append((transaction.state.value, transaction.epoch, transaction.version))
    assert states == [
        ("Empty", 0, 0),
        ("Ongoing", 0, 0),
        ("PrepareCommit", 1, 2),
        ("CompleteCommit", 1, 2),
        ("Ongoing", 1, 2),
        ("PrepareCommit", 1, 0),
        ("CompleteCommit", 1, 0),
        ("Ongoing", 1, 2),
        ("PrepareCommit", 2, 2),
        ("CompleteCommit", 2, 2),
    ]
    assert not list(kafka_records())[-1][1].endswith(b"\xff" * 8)


def test_what_is_written_is_what_kafka_writes() -> None:
    for key, value in kafka_records():
        transactional_id = records.read_key(key)
        assert transactional_id is not None
        assert records.record(records.read_value(transactional_id, value), 2) == (key, value)


@given(
    transactions=st.lists(
        st.builds(
            Transaction,
            st.sampled_from(["x", "y"]),
            st.integers(0, 1 << 62),
            st.integers(-1, 1 << 62),
            st.sampled_from([-1, -1, 7]),
            st.integers(0, 32_767),
            st.just(-1),
            st.integers(0, (1 << 31) - 1),
            st.sampled_from(State),
            st.frozensets(st.tuples(st.sampled_from(["t", "u" * 200]), st.integers(0, 3)), max_size=3),
            st.integers(-1, 1 << 62),
            st.integers(0, 1 << 62),
            st.sampled_from([0, 2]),
            st.just(False),
        ),
        min_size=1,
        max_size=4,
    ),
    level=st.integers(0, 2),
)
def test_what_is_packed_is_what_would_be_encoded(transactions: list[Transaction], level: int) -> None:
    for transaction in transactions:
        expected = encode_versioned(*records._value(transaction, level))
        assert records.record(transaction, level) == (records.key(transaction.transactional_id), expected)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("state", list(State))
def test_what_is_written_can_be_read(level: int, state: State) -> None:
    partitions = frozenset({("a", 1), ("a", 0), ("b", 7)})
    written = new_transaction("x", 5, 1_000, 7)._replace(
        state=state,
        epoch=3,
        started_ms=4,
        partitions=partitions if state is not State.EMPTY else frozenset(),
    )
    if level:
        written = written._replace(previous_producer_id=4, next_producer_id=6, version=2)
    elif state is not State.EMPTY:
        written = written._replace(is_distinct=False)  # there is no version in it
    key, value = records.record(written, level)
    assert value is not None
    assert int.from_bytes(value[:2], "big") == min(level, 1)
    assert records.read_key(key) == "x"
    assert records.read_value("x", value) == written


def test_records_that_are_not_known() -> None:
    shard = TransactionShard(TransactionSettings(), lambda: 2)
    shard.replay(0, -1, b"\0\7whatever", b"")
    shard.replay(0, -1, b"", b"")
    assert shard.transactions == {}
    odd = TransactionLogValue(
        producer_id=1, producer_epoch=0, transaction_status=9, transaction_partitions=[]
    )
    for value in (encode_versioned(odd, 1), b"\0\1", b"\0\7", b""):
        with pytest.raises(MalformedError):
            shard.replay(0, -1, records.key("x"), value)
    shard.replay(0, -1, records.key("x"), None)
