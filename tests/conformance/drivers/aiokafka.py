"""aiokafka: asyncio; its loop runs in a thread, so that the scenarios can be written once."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, ProducerFenced

from odradek.core.errors import ErrorCode
from tests.conformance.drivers.base import (
    Driver,
    GroupDescription,
    Member,
    Message,
    OffsetQuery,
    Reader,
    Received,
    Refused,
    Start,
    TransactionalProducer,
)


class LoopThread:
    """An event loop of its own, and calls into it from outside."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout_s: float = 90.0) -> Any:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)
        except ProducerFenced as error:
            raise Refused(ErrorCode.PRODUCER_FENCED, str(error)) from error
        except KafkaError as error:
            code = getattr(error, "errno", None)
            if not isinstance(code, int):
                raise
            raise Refused(code, str(error)) from error

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a plain function inside the loop, where aiokafka wants all of its calls."""

        async def inside() -> Any:
            return function(*arguments)

        return self.run(inside())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class _Consumer:
    """What a reader and a member have in common."""

    def __init__(self, thread: LoopThread, **settings: Any) -> None:
        self.thread = thread

        async def make() -> AIOKafkaConsumer:
            consumer = AIOKafkaConsumer(**settings)
            await consumer.start()
            return consumer

        self.consumer = thread.run(make())

    def poll(self, timeout_s: float) -> list[Received]:
        batches = self.thread.run(self.consumer.getmany(timeout_ms=int(timeout_s * 1_000)))
        return [
            Received(
                raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers), raw.timestamp
            )
            for batch in batches.values()
            for raw in batch
        ]

    def close(self) -> None:
        self.thread.run(self.consumer.stop())


class AiokafkaReader(_Consumer, Reader):
    def __init__(
        self,
        thread: LoopThread,
        bootstrap: str,
        topic: str,
        partition: int,
        start: Start,
        committed: bool | None,
    ) -> None:
        settings: dict[str, Any] = {}
        if committed is not None:
            settings["isolation_level"] = "read_committed" if committed else "read_uncommitted"
        if start == "earliest":
            # From the assignment on aiokafka looks for a position itself: when that takes longer than the
            # seek below, it wins.
            settings["auto_offset_reset"] = "earliest"
        super().__init__(thread, bootstrap_servers=bootstrap, **settings)
        self.partition = TopicPartition(topic, partition)
        thread.call(self.consumer.assign, [self.partition])
        if start == "earliest":
            self.thread.run(self.consumer.seek_to_beginning(self.partition))
        elif start == "latest":
            self.thread.run(self.consumer.seek_to_end(self.partition))
        else:
            self.seek(start)

    def seek(self, offset: int) -> None:
        self.thread.call(self.consumer.seek, self.partition, offset)


class AiokafkaMember(_Consumer, Member):
    def __init__(
        self,
        thread: LoopThread,
        bootstrap: str,
        group: str,
        topic: str,
        instance_id: str | None,
        committed: bool | None,
    ) -> None:
        settings: dict[str, Any] = {}
        if committed is not None:
            settings["isolation_level"] = "read_committed" if committed else "read_uncommitted"
        super().__init__(
            thread,
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=instance_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            **settings,
        )
        thread.call(self.consumer.subscribe, [topic])

    def assignment(self) -> frozenset[tuple[str, int]]:
        return frozenset((one.topic, one.partition) for one in self.consumer.assignment())

    def commit(self, metadata: str | None = None) -> None:
        async def commit() -> None:
            positions = {
                one: (await self.consumer.position(one), metadata or "") for one in self.consumer.assignment()
            }
            await self.consumer.commit(positions)

        self.thread.run(commit())

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.thread.call(self.consumer.seek, TopicPartition(topic, partition), offset)


class AiokafkaTransactions(TransactionalProducer):
    def __init__(self, thread: LoopThread, bootstrap: str, transactional_id: str) -> None:
        self.thread = thread

        async def make() -> AIOKafkaProducer:
            producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
            await producer.start()
            return producer

        self.producer = thread.run(make())

    def begin(self) -> None:
        self.thread.run(self.producer.begin_transaction())

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        async def send() -> None:
            sent = [
                await self.producer.send(topic, message.value, message.key, message.partition)
                for message in messages
            ]
            await asyncio.gather(*sent)

        self.thread.run(send())

    def send_offsets(self, member: Member, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        positions = {TopicPartition(*where): offset for where, offset in offsets.items()}
        self.thread.run(self.producer.send_offsets_to_transaction(positions, group))

    def end(self, commit: bool) -> None:
        end = self.producer.commit_transaction if commit else self.producer.abort_transaction
        self.thread.run(end())

    def close(self) -> None:
        self.thread.run(self.producer.stop())


class AiokafkaDriver(Driver):
    name = "aiokafka"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.thread = LoopThread()

        async def make() -> AIOKafkaAdminClient:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            return admin

        self.admin = self.thread.run(make())

    def close(self) -> None:
        self.thread.run(self.admin.close())
        self.thread.stop()

    def produce(
        self,
        topic: str,
        messages: Sequence[Message],
        compression: str = "none",
        max_request_bytes: int = 0,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        settings: dict[str, Any] = {"bootstrap_servers": self.bootstrap}
        if compression != "none":
            settings["compression_type"] = compression
        if max_request_bytes:
            settings["max_request_size"] = max_request_bytes
        if idempotent:
            settings["enable_idempotence"] = True

        async def publish() -> list[tuple[int, int]]:
            producer = AIOKafkaProducer(**settings)
            await producer.start()
            try:
                sent = [
                    await producer.send(
                        topic,
                        value=message.value,
                        key=message.key,
                        headers=list(message.headers),
                        partition=message.partition,
                        timestamp_ms=message.timestamp_ms,
                    )
                    for message in messages
                ]
                answers = await asyncio.gather(*sent)
            finally:
                await producer.stop()
            return [(answer.partition, answer.offset) for answer in answers]

        where: list[tuple[int, int]] = self.thread.run(publish())
        return where

    def reader(self, topic: str, partition: int, start: Start, committed: bool | None = None) -> Reader:
        return AiokafkaReader(self.thread, self.bootstrap, topic, partition, start, committed)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return AiokafkaTransactions(self.thread, self.bootstrap, transactional_id)

    def join(
        self, group: str, topic: str, instance_id: str | None = None, committed: bool | None = None
    ) -> Member:
        return AiokafkaMember(self.thread, self.bootstrap, group, topic, instance_id, committed)

    def _ask(self, call: str, *arguments: Any) -> Any:
        return self.thread.run(getattr(self.admin, call)(*arguments))

    def create_topic(
        self, topic: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        new = NewTopic(topic, partitions, replication, topic_configs=dict(configs or {}))
        _raise_for(self._ask("create_topics", [new]).topic_errors[0][1])

    def delete_topic(self, topic: str) -> None:
        _raise_for(self._ask("delete_topics", [topic]).topic_error_codes[0][1])

    def list_topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def partition_count(self, topic: str) -> int:
        (description,) = self._ask("describe_topics", [topic])
        _raise_for(description["error_code"])
        return len(description["partitions"])

    def topic_config(self, topic: str) -> dict[str, str | None]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = self._ask("describe_configs", [resource])
        ((code, *_, entries),) = answer.resources
        _raise_for(code)
        return {entry[0]: entry[1] for entry in entries}

    def set_topic_config(self, topic: str, key: str, value: str | None) -> None:
        configs = {} if value is None else {key: value}  # the old AlterConfigs: what is not named is reset
        (answer,) = self._ask(
            "alter_configs", [ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)]
        )
        _raise_for(answer.resources[0][0])

    def add_partitions(self, topic: str, total: int) -> None:
        self._ask("create_partitions", {topic: NewPartitions(total)})

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        target = TopicPartition(topic, partition)
        self._ask("delete_records", {target: RecordsToDelete(before_offset)})

    def offset(self, topic: str, partition: int, query: OffsetQuery) -> int | None:
        target = TopicPartition(topic, partition)
        if query == "max_timestamp":
            raise self.lacking("cannot ask for the highest timestamp")

        async def ask() -> int | None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
            await consumer.start()
            try:
                if query == "earliest":
                    return (await consumer.beginning_offsets([target]))[target]
                if query == "latest":
                    return (await consumer.end_offsets([target]))[target]
                found = (await consumer.offsets_for_times({target: query}))[target]
                return found and found.offset
            finally:
                await consumer.stop()

        offset: int | None = self.thread.run(ask())
        return offset

    def list_groups(self) -> set[str]:
        return {group[0] for group in self._ask("list_consumer_groups")}

    def describe_group(self, group: str) -> GroupDescription:
        (answer,) = self._ask("describe_consumer_groups", [group])
        (description,) = answer.to_object()["groups"]
        _raise_for(description["error_code"])
        members = tuple(
            (member.get("group_instance_id"), _assigned(member["member_assignment"]))
            for member in description["members"]
        )
        return GroupDescription(description["state"].lower(), members)

    def group_offsets(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        answer = self._ask("list_consumer_group_offsets", group)
        return {
            one.partition: (committed.offset, committed.metadata)
            for one, committed in answer.items()
            if one.topic == topic
        }

    def cluster(self) -> tuple[str, list[int]]:
        description = self._ask("describe_cluster")
        return description["cluster_id"], [node["node_id"] for node in description["brokers"]]


def _raise_for(code: int) -> None:
    if code != 0:
        raise Refused(code)


def _assigned(raw: bytes) -> frozenset[tuple[str, int]]:
    if not raw:
        return frozenset()
    assignment = ConsumerProtocolMemberAssignment.decode(raw)
    return frozenset((topic, number) for topic, numbers in assignment.assignment for number in numbers)
