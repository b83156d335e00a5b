"""Transactions seen from outside: which there are, who is in them, and ending those whose producer is gone.

Sources: KIP-664 (listing, describing, finding and aborting hanging transactions), KIP-360 (fencing).
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.client.client import Client, CoordinatorType
from odradek.client.groups import by_topic
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import TopicPartition

_PARTITIONS_AT_ONCE = 500


class TransactionListing(NamedTuple):
    """A line of the list: ``coordinator`` is the node id of the broker that keeps it."""

    transactional_id: str
    state: str
    producer_id: int
    coordinator: int


class TransactionInfo(NamedTuple):
    """One transactional id. ``started_ms`` (wall clock) is -1 while no transaction is open; ``partitions``
    are those that have no marker yet."""

    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    started_ms: int
    coordinator: int
    partitions: list[TopicPartition]


class ProducerInfo(NamedTuple):
    """What a partition knows of one producer; ``start_offset`` is -1 unless a transaction is open there,
    ``coordinator_epoch`` is -1 until a marker has come."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp: int
    coordinator_epoch: int
    start_offset: int


async def list_transactions(
    client: Client,
    *,
    states: Iterable[str] = (),
    producer_ids: Iterable[int] = (),
    running_for_ms: int = -1,
    pattern: str | None = None,
) -> list[TransactionListing]:
    """The transactional ids of every broker, by name, narrowed down by whatever is given.

    ``pattern`` is an RE2 regular expression for the whole id (KIP-1152). Raises ``ApiError``.
    """
    from odradek.protocol.generated.list_transactions import ListTransactionsRequest, ListTransactionsResponse

    request = ListTransactionsRequest(
        state_filters=list(states),
        producer_id_filters=list(producer_ids),
        duration_filter=running_for_ms,
        transactional_id_pattern=pattern,
    )

    async def ask(node_id: int) -> list[TransactionListing]:
        connection = await client.broker(node_id)
        response = await connection.call(request, ListTransactionsResponse, timeout_ms=client.timeout_ms)
        if response.error_code:
            code = ErrorCode(response.error_code)
            is_pattern = code is ErrorCode.INVALID_REGULAR_EXPRESSION
            raise ApiError(code, f"{pattern!r} is no RE2 expression" if is_pattern else "transactions")
        return [
            TransactionListing(one.transactional_id, one.transaction_state, one.producer_id, node_id)
            for one in response.transaction_states
        ]

    async def ask_all() -> list[TransactionListing]:
        brokers = (await client.cluster([])).brokers
        answers = await asyncio.gather(*map(ask, brokers))
        return sorted(listing for answer in answers for listing in answer)

    return await client.retrying(ask_all)


async def describe_transaction(client: Client, transactional_id: str) -> TransactionInfo:
    """One transactional id; raises ``ApiError`` (TRANSACTIONAL_ID_NOT_FOUND)."""
    from odradek.protocol.generated.describe_transactions import (
        DescribeTransactionsRequest,
        DescribeTransactionsResponse,
    )

    async def ask() -> TransactionInfo:
        connection = await client.coordinator(transactional_id, CoordinatorType.TRANSACTION)
        request = DescribeTransactionsRequest(transactional_ids=[transactional_id])
        response = await connection.call(request, DescribeTransactionsResponse, timeout_ms=client.timeout_ms)
        found = response.transaction_states[0]
        check_transactional_id(client, transactional_id, found.error_code)
        return TransactionInfo(
            transactional_id,
            found.transaction_state,
            found.producer_id,
            found.producer_epoch,
            found.transaction_timeout_ms,
            found.transaction_start_time_ms,
            await client.coordinator_id(transactional_id, CoordinatorType.TRANSACTION),
            [TopicPartition(topic.topic, number) for topic in found.topics for number in topic.partitions],
        )

    return await client.retrying(ask)


async def init_producer(client: Client, transactional_id: str, timeout_ms: int) -> tuple[int, int]:
    """Shut the producer of ``transactional_id`` out; its open transaction is aborted before this returns.

    ``timeout_ms`` is what the id keeps as its transaction timeout. Returns the producer id and the new
    producer epoch. An id that is not known is made. Raises ``ApiError``.
    """
    from odradek.protocol.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

    async def ask() -> tuple[int, int]:
        connection = await client.coordinator(transactional_id, CoordinatorType.TRANSACTION)
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
        response = await connection.call(request, InitProducerIdResponse, timeout_ms=client.timeout_ms)
        check_transactional_id(client, transactional_id, response.error_code)
        return response.producer_id, response.producer_epoch

    return await client.retrying(ask)


async def describe_producers(
    client: Client, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, list[ProducerInfo]]:
    """The active producers of each partition, as its leader knows them; raises ``ApiError``."""
    wanted = list(partitions)
    found: dict[TopicPartition, list[ProducerInfo]] = {}
    for start in range(0, len(wanted), _PARTITIONS_AT_ONCE):
        some = wanted[start : start + _PARTITIONS_AT_ONCE]

        async def ask(some: list[TopicPartition] = some) -> dict[TopicPartition, list[ProducerInfo]]:
            grouped = await client.by_leader(some)
            answers = await asyncio.gather(*(_ask_leader(client, *each) for each in grouped.items()))
            return {key: producers for answer in answers for key, producers in answer.items()}

        found |= await client.retrying(ask)
    return found


async def _ask_leader(
    client: Client, node_id: int, partitions: list[TopicPartition]
) -> dict[TopicPartition, list[ProducerInfo]]:
    from odradek.protocol.generated.describe_producers import (
        DescribeProducersRequest,
        DescribeProducersResponse,
        TopicRequest,
    )

    topics = [
        TopicRequest(name=name, partition_indexes=numbers) for name, numbers in by_topic(partitions).items()
    ]
    connection = await client.broker(node_id)
    response = await connection.call(
        DescribeProducersRequest(topics=topics), DescribeProducersResponse, timeout_ms=client.timeout_ms
    )
    found = {}
    for topic in response.topics:
        for answer in topic.partitions:
            key = TopicPartition(topic.name, answer.partition_index)
            if answer.error_code:
                client.forget_leaders([key])
                raise ApiError(ErrorCode(answer.error_code), answer.error_message or f"producers of {key}")
            found[key] = [
                ProducerInfo(
                    one.producer_id,
                    one.producer_epoch,
                    one.last_sequence,
                    one.last_timestamp,
                    one.coordinator_epoch,
                    one.current_txn_start_offset,
                )
                for one in answer.active_producers
            ]
    return found


async def abort_at_partition(client: Client, partition: TopicPartition, producer: ProducerInfo) -> None:
    """Write an abort marker for ``producer`` to one partition, past the coordinator; raises ``ApiError``.

    Only for a transaction that hangs, that is, that no coordinator will ever end. A producer that has seen no
    marker yet is aborted under coordinator epoch 0, which no leader has beaten.
    """
    from odradek.protocol.generated.write_txn_markers import (
        WritableTxnMarker,
        WritableTxnMarkerTopic,
        WriteTxnMarkersRequest,
        WriteTxnMarkersResponse,
    )

    topic = WritableTxnMarkerTopic(name=partition.topic, partition_indexes=[partition.partition])
    marker = WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        transaction_result=False,
        coordinator_epoch=max(0, producer.coordinator_epoch),
        topics=[topic],
    )
    request = WriteTxnMarkersRequest(markers=[marker])

    async def ask() -> None:
        connection = await client.broker(await client.leader(partition))
        response = await connection.call(request, WriteTxnMarkersResponse, timeout_ms=client.timeout_ms)
        answer = response.markers[0].topics[0].partitions[0]
        if answer.error_code:
            client.forget_leaders([partition])
            raise ApiError(ErrorCode(answer.error_code), f"abort at {partition}")

    await client.retrying(ask)


class HangingTransaction(NamedTuple):
    """An open transaction in a partition that no coordinator knows of; ``transactional_id`` is that of its
    producer id today, where there is one."""

    partition: TopicPartition
    producer: ProducerInfo
    transactional_id: str | None


async def find_hanging(
    client: Client, partitions: Iterable[TopicPartition], last_write_before_ms: int
) -> list[HangingTransaction]:
    """Transactions that are open in ``partitions``, were last written to before ``last_write_before_ms``, and
    that their coordinator does not list (any more): they would hold up read_committed readers for ever.
    """
    candidates = [
        (key, producer)
        for key, producers in (await describe_producers(client, partitions)).items()
        for producer in producers
        if producer.start_offset >= 0 and producer.last_timestamp < last_write_before_ms
    ]
    if not candidates:
        return []
    producer_ids = {producer.producer_id for _, producer in candidates}
    listed = await list_transactions(client, producer_ids=producer_ids)
    names = {listing.producer_id: listing.transactional_id for listing in listed}
    awaited = await _open_partitions(client, names.values())
    hanging = [
        HangingTransaction(key, producer, names.get(producer.producer_id))
        for key, producer in candidates
        if key not in awaited.get(names.get(producer.producer_id, ""), ())
    ]
    # One that was ended after the first look is unknown to its coordinator, too: look again.
    now = await describe_producers(client, {each.partition for each in hanging})
    return [each for each in hanging if _is_open(each.producer, now[each.partition])]


def _is_open(transaction: ProducerInfo, producers: list[ProducerInfo]) -> bool:
    return any(
        (producer.producer_id, producer.start_offset) == (transaction.producer_id, transaction.start_offset)
        for producer in producers
    )


async def _open_partitions(
    client: Client, transactional_ids: Iterable[str]
) -> Mapping[str, list[TopicPartition]]:
    """The partitions that the coordinators will still end; ids that are gone meanwhile are left out."""
    found = {}
    for transactional_id in transactional_ids:
        try:
            found[transactional_id] = (await describe_transaction(client, transactional_id)).partitions
        except ApiError as error:
            if error.code is not ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
                raise
    return found


def check_transactional_id(client: Client, transactional_id: str, error_code: int) -> None:
    """Raise ``ApiError`` unless ``error_code`` is 0; a coordinator that is none any more is forgotten."""
    if error_code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
        client.forget_coordinator(transactional_id, CoordinatorType.TRANSACTION)
    if error_code:
        is_missing = error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        reason = f"there is no transactional id {transactional_id}" if is_missing else transactional_id
        raise ApiError(ErrorCode(error_code), reason)
