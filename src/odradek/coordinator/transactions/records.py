"""Keys and values of ``__transaction_state``, as Kafka 4.3 writes them: value version 1 from
``transaction.version`` 1 on, else 0.

Source: ``TransactionLog``, ``TransactionCoordinatorRecordSerde``.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

from odradek.coordinator.step import RecordBytes
from odradek.coordinator.transactions.transaction import (
    NO_EPOCH,
    NO_PRODUCER_ID,
    VERSION_2,
    State,
    TopicPartitionKey,
    Transaction,
)
from odradek.protocol.generated.transaction_log import (
    PartitionsSchema,
    TransactionLogKey,
    TransactionLogValue,
)
from odradek.protocol.primitives import MalformedError
from odradek.protocol.stencil import stencil
from odradek.protocol.versioned import (
    decode_record_key,
    decode_versioned,
    encode_record_key,
    encode_versioned,
)

KEY_TYPE = 0
FLEXIBLE_FROM_LEVEL = 1

_IDS = {
    State.EMPTY: 0,
    State.ONGOING: 1,
    State.PREPARE_COMMIT: 2,
    State.PREPARE_ABORT: 3,
    State.COMPLETE_COMMIT: 4,
    State.COMPLETE_ABORT: 5,
    State.DEAD: 6,
}
_STATES = {number: state for state, number in _IDS.items()}


@lru_cache(maxsize=4_096)
def key(transactional_id: str) -> bytes:
    return encode_record_key(TransactionLogKey(transactional_id=transactional_id))


def record(transaction: Transaction, level: int) -> RecordBytes:
    """The record that says what ``transaction`` is; ``level`` is the finalized transaction.version."""
    # fmt: off
    (transactional_id, producer_id, previous_id, next_id, epoch, _, timeout_ms, state, partitions,
     started_ms, updated_ms, version, _) = transaction
    # fmt: on
    if level < FLEXIBLE_FROM_LEVEL or previous_id < 0 or next_id != NO_PRODUCER_ID:
        return key(transactional_id), encode_versioned(*_value(transaction, level))
    pack, first, middle, before_previous, last = _layout(state, partitions, version)
    return key(transactional_id), pack(
        first,
        producer_id,
        epoch,
        timeout_ms,
        middle,
        updated_ms,
        started_ms,
        before_previous,
        previous_id,
        *last,
    )


@lru_cache(maxsize=4_096)
def _layout(
    state: State, partitions: frozenset[TopicPartitionKey], version: int
) -> tuple[Callable[..., bytes], bytes, bytes, bytes, tuple[bytes, ...]]:
    """How such values are packed that name a producer id before and none that is next: a transaction passes
    the same states again and again, and only numbers change. Whatever stands between these, in order."""
    example = Transaction("", 1, 1, NO_PRODUCER_ID, 1, NO_EPOCH, 1, state, partitions, 1, 1, version, False)
    value, value_version = _value(example, FLEXIBLE_FROM_LEVEL)
    found = stencil(
        lambda: encode_versioned(value, value_version),
        (value, "producer_id"),
        (value, "producer_epoch"),
        (value, "transaction_timeout_ms"),
        (value, "transaction_last_update_timestamp_ms"),
        (value, "transaction_start_timestamp_ms"),
        (value, "previous_producer_id"),
    )
    assert found is not None
    first, middle, before_previous, *last = found.fixed
    return Struct(">" + found.layout).pack, first, middle, before_previous, tuple(last)


def _value(transaction: Transaction, level: int) -> tuple[TransactionLogValue, int]:
    """The value and its version."""
    partitions = None
    if transaction.state is not State.EMPTY:
        by_topic: dict[str, list[int]] = {}
        for topic, index in sorted(transaction.partitions):
            by_topic.setdefault(topic, []).append(index)
        partitions = [
            PartitionsSchema(topic=topic, partition_ids=indexes) for topic, indexes in by_topic.items()
        ]
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        producer_epoch=transaction.epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=_IDS[transaction.state],
        transaction_partitions=partitions,
        transaction_last_update_timestamp_ms=transaction.updated_ms,
        transaction_start_timestamp_ms=transaction.started_ms,
    )
    if level < FLEXIBLE_FROM_LEVEL:
        return value, 0
    value.previous_producer_id = transaction.previous_producer_id
    value.next_producer_id = transaction.next_producer_id
    value.client_transaction_version = transaction.version
    return value, 1


def read_key(raw: bytes) -> str | None:
    """The transactional id; ``None`` for a kind of record that is not known."""
    if int.from_bytes(raw[:2], "big") != KEY_TYPE or len(raw) < 2:
        return None
    return decode_record_key(TransactionLogKey, raw).transactional_id


def read_value(transactional_id: str, raw: bytes) -> Transaction:
    """Raises :class:`MalformedError` for what cannot be read, an unknown state among it."""
    value = decode_versioned(TransactionLogValue, raw)
    state = _STATES.get(value.transaction_status)
    if state is None:
        raise MalformedError(f"transaction state {value.transaction_status} is unknown")
    return Transaction(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        epoch=value.producer_epoch,
        last_epoch=NO_EPOCH,
        timeout_ms=value.transaction_timeout_ms,
        state=state,
        partitions=frozenset(
            (topic.topic, index)
            for topic in value.transaction_partitions or ()
            for index in topic.partition_ids
        ),
        started_ms=value.transaction_start_timestamp_ms,
        updated_ms=value.transaction_last_update_timestamp_ms,
        version=value.client_transaction_version,
        is_distinct=state is State.EMPTY or value.client_transaction_version >= VERSION_2,
    )
