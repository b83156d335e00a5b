"""kafka-python: pure Python, threads."""

import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

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


def _refused(error: Any) -> Refused:
    code = getattr(error, "errno", None)
    if not isinstance(code, int):
        raise error
    return Refused(code, str(error))


def _raise_for(code: int) -> None:
    if code != 0:
        raise Refused(code)


def _raise_for_text(text: str) -> None:
    """Some calls answer with words: the name of the error, or its number in brackets."""
    numbered = re.match(r"\[Error (-?\d+)\]", text)
    code = int(numbered[1]) if numbered else getattr(getattr(errors, text, None), "errno", 0)
    if code:
        raise Refused(code, text)


def _poll(consumer: KafkaConsumer, timeout_s: float) -> list[Received]:
    return [
        Received(
            raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers or ()), raw.timestamp
        )
        for batch in consumer.poll(int(timeout_s * 1_000)).values()
        for raw in batch
    ]


class KafkaPythonReader(Reader):
    def __init__(
        self, bootstrap: str, topic: str, partition: int, start: Start, committed: bool | None
    ) -> None:
        settings: dict[str, Any] = {}
        if committed is not None:
            settings["isolation_level"] = "read_committed" if committed else "read_uncommitted"
        self.consumer = KafkaConsumer(bootstrap_servers=bootstrap, **settings)
        self.partition = TopicPartition(topic, partition)
        self.consumer.assign([self.partition])
        if start == "earliest":
            self.consumer.seek_to_beginning(self.partition)
        elif start == "latest":
            self.consumer.seek_to_end(self.partition)
            self.consumer.position(self.partition)
        else:
            self.consumer.seek(self.partition, start)

    def poll(self, timeout_s: float) -> list[Received]:
        return _poll(self.consumer, timeout_s)

    def seek(self, offset: int) -> None:
        self.consumer.seek(self.partition, offset)

    def close(self) -> None:
        self.consumer.close()


class KafkaPythonMember(Member):
    """Polled by a thread of its own, as kafka-python's consumers are used: one that is not polled holds up
    the rebalance of the others."""

    def __init__(
        self, bootstrap: str, group: str, topic: str, instance_id: str | None, committed: bool | None
    ) -> None:
        settings: dict[str, Any] = {}
        if committed is not None:
            settings["isolation_level"] = "read_committed" if committed else "read_uncommitted"
        self.consumer = KafkaConsumer(
            topic,
            **settings,
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=instance_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._positions: dict[TopicPartition, int] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping:
                with self._lock:
                    for one in _poll(self.consumer, 0.5):  # shorter polls give up joining half-way
                        self._received.put(one)
                time.sleep(0.001)  # locks are not fair: who waits for it gets its turn
        except KafkaError as error:
            self._failure = error

    def poll(self, timeout_s: float) -> list[Received]:
        if self._failure is not None:
            raise _refused(self._failure)
        received: list[Received] = []
        try:
            received.append(self._received.get(timeout=timeout_s))
            while True:
                received.append(self._received.get_nowait())
        except queue.Empty:
            pass
        for one in received:
            self._positions[TopicPartition(one.topic, one.partition)] = one.offset + 1
        return received

    def assignment(self) -> frozenset[tuple[str, int]]:
        return frozenset((one.topic, one.partition) for one in self.consumer.assignment())

    def commit(self, metadata: str | None = None) -> None:
        with self._lock:
            self.consumer.commit(
                {
                    one: OffsetAndMetadata(self._positions[one], metadata or "", -1)
                    for one in self.consumer.assignment()
                    if one in self._positions
                }
            )

    def seek(self, topic: str, partition: int, offset: int) -> None:
        with self._lock:
            self.consumer.seek(TopicPartition(topic, partition), offset)

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        self.consumer.close(autocommit=False)


class KafkaPythonTransactions(TransactionalProducer):
    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
        self._call(self.producer.init_transactions)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except KafkaError as error:
            raise _refused(error) from error

    def begin(self) -> None:
        self._call(self.producer.begin_transaction)

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        sent = [
            self.producer.send(topic, message.value, message.key, partition=message.partition)
            for message in messages
        ]
        self.producer.flush(60)
        for future in sent:
            self._call(future.get, 60)

    def send_offsets(self, member: Member, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        assert isinstance(member, KafkaPythonMember)
        positions = {
            TopicPartition(*where): OffsetAndMetadata(offset, "", -1) for where, offset in offsets.items()
        }
        metadata = member.consumer.group_metadata()
        self._call(self.producer.send_offsets_to_transaction, positions, metadata)

    def end(self, commit: bool) -> None:
        self._call(self.producer.commit_transaction if commit else self.producer.abort_transaction)

    def close(self) -> None:
        self.producer.close(1)


class KafkaPythonDriver(Driver):
    name = "kafka-python"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def close(self) -> None:
        self.admin.close()

    def _ask(self, call: str, *arguments: Any, **named: Any) -> Any:
        try:
            return getattr(self.admin, call)(*arguments, **named)
        except KafkaError as error:
            raise _refused(error) from error

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
        if any(value is None for message in messages for _, value in message.headers):
            raise self.lacking("refuses null header values")
        try:
            producer = KafkaProducer(**settings)
        except RuntimeError as error:  # a codec that is a package of its own
            raise self.lacking(f"says: {error}") from error
        try:
            futures = [
                producer.send(
                    topic,
                    value=message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=message.partition,
                    timestamp_ms=message.timestamp_ms,
                )
                for message in messages
            ]
            answers = [future.get(60) for future in futures]
        except KafkaError as error:
            raise _refused(error) from error
        finally:
            producer.close()
        return [(answer.partition, answer.offset) for answer in answers]

    def reader(self, topic: str, partition: int, start: Start, committed: bool | None = None) -> Reader:
        return KafkaPythonReader(self.bootstrap, topic, partition, start, committed)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return KafkaPythonTransactions(self.bootstrap, transactional_id)

    def join(
        self, group: str, topic: str, instance_id: str | None = None, committed: bool | None = None
    ) -> Member:
        return KafkaPythonMember(self.bootstrap, group, topic, instance_id, committed)

    def create_topic(
        self, topic: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        options = {"num_partitions": partitions, "replication_factor": replication}
        self._ask("create_topics", {topic: {**options, "configs": dict(configs or {})}})

    def delete_topic(self, topic: str) -> None:
        self._ask("delete_topics", [topic])

    def list_topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def partition_count(self, topic: str) -> int:
        (description,) = self._ask("describe_topics", [topic])
        _raise_for(description["error_code"])
        return len(description["partitions"])

    def topic_config(self, topic: str) -> dict[str, str | None]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        answer = self._ask("describe_configs", [resource], config_filter="all")
        (configs,) = next(iter(answer.values())).values()
        return {name: entry["value"] for name, entry in configs.items()}

    def set_topic_config(self, topic: str, key: str, value: str | None) -> None:
        operation = ("DELETE", None) if value is None else ("SET", value)
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={key: operation})
        _raise_for_text(self._ask("alter_configs", [resource])["topic"][topic])

    def add_partitions(self, topic: str, total: int) -> None:
        self._ask("create_partitions", {topic: total})

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        self._ask("delete_records", {TopicPartition(topic, partition): before_offset})

    def offset(self, topic: str, partition: int, query: OffsetQuery) -> int | None:
        target = TopicPartition(topic, partition)
        spec = query if isinstance(query, int) else OffsetSpec[query.upper()]
        offset: int = self._ask("list_partition_offsets", {target: spec})[target].offset
        return offset if offset >= 0 else None

    def list_groups(self) -> set[str]:
        return {group["group_id"] for group in self._ask("list_groups")}

    def describe_group(self, group: str) -> GroupDescription:
        description = self._ask("describe_groups", [group])[group]
        _raise_for(description.get("error_code") or 0)
        members = []
        for member in description["members"]:
            assigned = (member["member_assignment"] or {}).get("assigned_partitions", [])
            owned = frozenset((one["topic"], number) for one in assigned for number in one["partitions"])
            members.append((member["group_instance_id"], owned))
        return GroupDescription(description["group_state"].lower(), tuple(members))

    def delete_group(self, group: str) -> None:
        _raise_for_text(self._ask("delete_groups", [group])[group])

    def group_offsets(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        answer = self._ask("list_group_offsets", group)[group]
        return {
            one.partition: (committed.offset, committed.metadata)
            for one, committed in answer.items()
            if one.topic == topic
        }

    def set_group_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        target = TopicPartition(topic, partition)
        answer = self._ask("alter_group_offsets", group, {target: OffsetAndMetadata(offset, "", -1)})
        _raise_for(answer[target].errno)

    def delete_group_offset(self, group: str, topic: str, partition: int) -> None:
        target = TopicPartition(topic, partition)
        _raise_for(self._ask("delete_group_offsets", group, [target])[target].errno)

    def log_size(self, topic: str) -> int:
        return sum(
            partition["partition_size"]
            for broker in self._ask("describe_log_dirs", [topic])
            for directory in broker["log_dirs"]
            for one in directory["topics"]
            if one["name"] == topic
            for partition in one["partitions"]
        )

    def cluster(self) -> tuple[str, list[int]]:
        description = self._ask("describe_cluster")
        return description["cluster_id"], [node["broker_id"] for node in description["brokers"]]
