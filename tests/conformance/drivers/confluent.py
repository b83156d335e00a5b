"""confluent-kafka: librdkafka under Python."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

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

_STARTS = {"earliest": -2, "latest": -1}
_LOCAL_ERRORS = {KafkaError._UNKNOWN_TOPIC: 3, KafkaError._UNKNOWN_PARTITION: 3, KafkaError._FENCED: 90}
"""What librdkafka concludes itself, it says in codes of its own."""


def _refused(error: KafkaError) -> Refused:
    return Refused(_LOCAL_ERRORS.get(error.code(), error.code()), error.str())


def _await(future: "Future[Any]") -> Any:
    try:
        return future.result(60)
    except KafkaException as error:
        raise _refused(error.args[0]) from error


def _received(raw: Any) -> Received:
    return Received(
        raw.topic(),
        raw.partition(),
        raw.offset(),
        raw.key(),
        raw.value(),
        tuple(raw.headers() or ()),
        raw.timestamp()[1],
    )


def _poll(consumer: Consumer, timeout_s: float) -> list[Received]:
    first = consumer.poll(timeout_s)
    raws = [] if first is None else [first, *consumer.consume(500, 0)]
    received = []
    for raw in raws:
        if raw.error():
            raise _refused(raw.error())
        received.append(_received(raw))
    return received


class ConfluentReader(Reader):
    def __init__(
        self, bootstrap: str, topic: str, partition: int, start: Start, committed: bool | None
    ) -> None:
        self.topic, self.partition = topic, partition
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
        }
        if committed is not None:
            settings["isolation.level"] = "read_committed" if committed else "read_uncommitted"
        self.consumer = Consumer(settings)
        offset = start if isinstance(start, int) else _STARTS[start]
        if start == "latest":  # resolved here, as librdkafka would only do it some time after assign()
            offset = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)[1]
        self.consumer.assign([TopicPartition(topic, partition, offset)])

    def poll(self, timeout_s: float) -> list[Received]:
        return _poll(self.consumer, timeout_s)

    def seek(self, offset: int) -> None:
        self.consumer.seek(TopicPartition(self.topic, self.partition, offset))

    def close(self) -> None:
        self.consumer.close()


class ConfluentMember(Member):
    def __init__(
        self,
        bootstrap: str,
        group: str,
        topic: str,
        instance_id: str | None,
        committed: bool | None,
        protocol: str,
    ) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        if instance_id is not None:
            settings["group.instance.id"] = instance_id
        if committed is not None:
            settings["isolation.level"] = "read_committed" if committed else "read_uncommitted"
        if protocol != "classic":
            settings["group.protocol"] = protocol
        self.consumer = Consumer(settings)
        self.consumer.subscribe([topic])

    def poll(self, timeout_s: float) -> list[Received]:
        return _poll(self.consumer, timeout_s)

    def assignment(self) -> frozenset[tuple[str, int]]:
        return frozenset((one.topic, one.partition) for one in self.consumer.assignment())

    def commit(self, metadata: str | None = None) -> None:
        positions = [one for one in self.consumer.position(self.consumer.assignment()) if one.offset >= 0]
        if metadata is not None:
            positions = [TopicPartition(one.topic, one.partition, one.offset, metadata) for one in positions]
        self.consumer.commit(offsets=positions, asynchronous=False)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.consumer.seek(TopicPartition(topic, partition, offset))

    def close(self) -> None:
        self.consumer.close()


class ConfluentTransactions(TransactionalProducer):
    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id})
        self._call(self.producer.init_transactions, 60)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            function(*arguments)
        except KafkaException as error:
            raise _refused(error.args[0]) from error

    def begin(self) -> None:
        self._call(self.producer.begin_transaction)

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        for message in messages:
            assert message.partition is not None
            self.producer.produce(topic, message.value, message.key, message.partition)
        assert self.producer.flush(60) == 0, "not everything was delivered in a minute"

    def send_offsets(self, member: Member, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        assert isinstance(member, ConfluentMember)
        positions = [TopicPartition(*where, offset) for where, offset in offsets.items()]
        metadata = member.consumer.consumer_group_metadata()
        self._call(self.producer.send_offsets_to_transaction, positions, metadata, 60)

    def end(self, commit: bool) -> None:
        end = self.producer.commit_transaction if commit else self.producer.abort_transaction
        self._call(end, 60)

    def close(self) -> None:
        self.producer.purge()


class ConfluentDriver(Driver):
    name = "confluent"
    protocols = ("classic", "consumer")

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def produce(
        self,
        topic: str,
        messages: Sequence[Message],
        compression: str = "none",
        max_request_bytes: int = 0,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        settings: dict[str, Any] = {"bootstrap.servers": self.bootstrap}
        if compression != "none":
            settings["compression.type"] = compression
        if max_request_bytes:
            settings["message.max.bytes"] = max_request_bytes
        if idempotent:
            settings["enable.idempotence"] = True
        producer = Producer(settings)
        where: dict[int, tuple[int, int]] = {}
        errors: list[KafkaError] = []

        def delivered(index: int, error: KafkaError | None, raw: Any) -> None:
            if error is not None:
                errors.append(error)
            else:
                where[index] = (raw.partition(), raw.offset())

        for index, message in enumerate(messages):
            arguments: dict[str, Any] = {}
            if message.partition is not None:
                arguments["partition"] = message.partition
            if message.timestamp_ms is not None:
                arguments["timestamp"] = message.timestamp_ms
            producer.produce(
                topic,
                value=message.value,
                key=message.key,
                headers=list(message.headers),
                on_delivery=lambda error, raw, index=index: delivered(index, error, raw),
                **arguments,
            )
        assert producer.flush(60) == 0, "not everything was delivered in a minute"
        if errors:
            raise _refused(errors[0])
        return [where[index] for index in range(len(messages))]

    def reader(self, topic: str, partition: int, start: Start, committed: bool | None = None) -> Reader:
        return ConfluentReader(self.bootstrap, topic, partition, start, committed)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return ConfluentTransactions(self.bootstrap, transactional_id)

    def join(
        self, group: str, topic: str, instance_id: str | None = None, committed: bool | None = None
    ) -> Member:
        return ConfluentMember(self.bootstrap, group, topic, instance_id, committed, self.protocol)

    def create_topic(
        self, topic: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        new = NewTopic(topic, partitions, replication, config=dict(configs or {}))
        _await(self.admin.create_topics([new])[topic])

    def delete_topic(self, topic: str) -> None:
        _await(self.admin.delete_topics([topic])[topic])

    def list_topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=60).topics)

    def partition_count(self, topic: str) -> int:
        asked = TopicCollection([topic])
        return len(_await(self.admin.describe_topics(asked)[topic]).partitions)

    def topic_config(self, topic: str) -> dict[str, str | None]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = _await(self.admin.describe_configs([resource])[resource])
        return {name: entry.value for name, entry in entries.items()}

    def set_topic_config(self, topic: str, key: str, value: str | None) -> None:
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        _await(self.admin.incremental_alter_configs([resource])[resource])

    def add_partitions(self, topic: str, total: int) -> None:
        _await(self.admin.create_partitions([NewPartitions(topic, total)])[topic])

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        target = TopicPartition(topic, partition, before_offset)
        for future in self.admin.delete_records([target]).values():
            _await(future)

    def offset(self, topic: str, partition: int, query: OffsetQuery) -> int | None:
        named = {
            "earliest": OffsetSpec.earliest,
            "latest": OffsetSpec.latest,
            "max_timestamp": OffsetSpec.max_timestamp,
        }
        spec = OffsetSpec.for_timestamp(query) if isinstance(query, int) else named[query]()
        for future in self.admin.list_offsets({TopicPartition(topic, partition): spec}).values():
            offset: int = _await(future).offset
            return offset if offset >= 0 else None
        raise AssertionError("no answer")

    def list_groups(self) -> set[str]:
        return {group.group_id for group in _await(self.admin.list_consumer_groups()).valid}

    def describe_group(self, group: str) -> GroupDescription:
        description = _await(self.admin.describe_consumer_groups([group])[group])
        members = tuple(
            (
                member.group_instance_id or None,
                frozenset((one.topic, one.partition) for one in member.assignment.topic_partitions),
            )
            for member in description.members
        )
        return GroupDescription(description.state.name.replace("_", "").lower(), members)

    def delete_group(self, group: str) -> None:
        _await(self.admin.delete_consumer_groups([group])[group])

    def group_offsets(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        asked = ConsumerGroupTopicPartitions(group)
        answer = _await(self.admin.list_consumer_group_offsets([asked])[group])
        return {
            one.partition: (one.offset, one.metadata or "")
            for one in answer.topic_partitions
            if one.topic == topic
        }

    def set_group_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        answer = _await(self.admin.alter_consumer_group_offsets([wanted])[group])
        for one in answer.topic_partitions:
            if one.error is not None:
                raise _refused(one.error)

    def cluster(self) -> tuple[str, list[int]]:
        description = _await(self.admin.describe_cluster())
        return description.cluster_id, [node.id for node in description.nodes]
