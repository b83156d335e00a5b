"""Client libraries of other languages: a small program for each takes one JSON line per call and answers one.

A call is ``{"op": NAME, …}``; the answer ``{"ok": RESULT}``, ``{"code": N, "message": TEXT}`` for an error
code of the broker, ``{"lacking": REASON}``, or ``{"failed": TEXT}``. Bytes travel as base64.
"""

import base64
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.drivers.base import (
    Driver,
    GroupDescription,
    Lacking,
    Member,
    Message,
    OffsetQuery,
    Reader,
    Received,
    Refused,
    Start,
    TransactionalProducer,
)

ANSWER_TIMEOUT_S = 100


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _received(row: Mapping[str, Any]) -> Received:
    headers = tuple((name, _bytes(value)) for name, value in row.get("headers") or [])
    return Received(
        row["topic"],
        row["partition"],
        row["offset"],
        _bytes(row["key"]),
        _bytes(row["value"]),
        headers,
        row["timestamp"],
    )


def _rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [
        {
            "key": _text(message.key),
            "value": _text(message.value),
            "headers": [[name, _text(value)] for name, value in message.headers],
            "partition": message.partition,
            "timestamp": message.timestamp_ms,
        }
        for message in messages
    ]


class Program:
    """One running program; its stderr goes to a file that is shown when it fails."""

    def __init__(self, command: Sequence[str], bootstrap: str, errors: Path) -> None:
        self.errors = errors
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )

    def ask(self, op: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        watchdog = threading.Timer(ANSWER_TIMEOUT_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise RuntimeError(f"the program ended during {op}: {self.errors.read_text()[-2_000:]}")
        answer = json.loads(line)
        if "code" in answer:
            raise Refused(answer["code"], answer.get("message", ""))
        if "lacking" in answer:
            raise Lacking(answer["lacking"])
        if "failed" in answer:
            raise RuntimeError(f"{op}: {answer['failed']}")
        return answer.get("ok")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


class ProgramReader(Reader):
    def __init__(
        self, program: Program, topic: str, partition: int, start: Start, committed: bool | None
    ) -> None:
        self.program = program
        self.handle = program.ask(
            "reader_open", topic=topic, partition=partition, start=start, committed=committed
        )

    def poll(self, timeout_s: float) -> list[Received]:
        rows = self.program.ask("poll", handle=self.handle, timeout_ms=int(timeout_s * 1_000))
        return [_received(row) for row in rows or []]

    def seek(self, offset: int) -> None:
        self.program.ask("reader_seek", handle=self.handle, offset=offset)

    def close(self) -> None:
        self.program.ask("close", handle=self.handle)


class ProgramMember(Member):
    def __init__(
        self,
        program: Program,
        group: str,
        topic: str,
        instance_id: str | None,
        committed: bool | None,
        protocol: str,
    ) -> None:
        self.program = program
        self.handle = program.ask(
            "join",
            group=group,
            topic=topic,
            instance_id=instance_id,
            committed=committed,
            protocol=protocol,
        )

    def poll(self, timeout_s: float) -> list[Received]:
        rows = self.program.ask("poll", handle=self.handle, timeout_ms=int(timeout_s * 1_000))
        return [_received(row) for row in rows or []]

    def assignment(self) -> frozenset[tuple[str, int]]:
        rows = self.program.ask("assignment", handle=self.handle)
        return frozenset((topic, partition) for topic, partition in rows or [])

    def commit(self, metadata: str | None = None) -> None:
        self.program.ask("commit", handle=self.handle, metadata=metadata)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.program.ask("member_seek", handle=self.handle, topic=topic, partition=partition, offset=offset)

    def close(self) -> None:
        self.program.ask("close", handle=self.handle)


class ProgramTransactions(TransactionalProducer):
    def __init__(self, program: Program, transactional_id: str) -> None:
        self.program = program
        self.handle = program.ask("transactions_open", transactional_id=transactional_id)

    def begin(self) -> None:
        self.program.ask("transaction_begin", handle=self.handle)

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        self.program.ask("transaction_send", handle=self.handle, topic=topic, messages=_rows(messages))

    def send_offsets(self, member: Member, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        rows = [[topic, partition, offset] for (topic, partition), offset in offsets.items()]
        self.program.ask("transaction_offsets", handle=self.handle, group=group, offsets=rows)

    def end(self, commit: bool) -> None:
        self.program.ask("transaction_end", handle=self.handle, commit=commit)

    def close(self) -> None:
        self.program.ask("transactions_close", handle=self.handle)


class ProgramDriver(Driver):
    def __init__(self, name: str, command: Sequence[str], bootstrap: str, errors: Path) -> None:
        self.name = name
        self.protocols = ("classic", "consumer") if name == "franz-go" else ("classic",)
        self.program = Program(command, bootstrap, errors)

    def close(self) -> None:
        self.program.stop()

    def produce(
        self,
        topic: str,
        messages: Sequence[Message],
        compression: str = "none",
        max_request_bytes: int = 0,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        answer = self.program.ask(
            "produce",
            topic=topic,
            messages=_rows(messages),
            compression=compression,
            max_request_bytes=max_request_bytes,
            idempotent=idempotent,
        )
        return [(partition, offset) for partition, offset in answer]

    def reader(self, topic: str, partition: int, start: Start, committed: bool | None = None) -> Reader:
        return ProgramReader(self.program, topic, partition, start, committed)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return ProgramTransactions(self.program, transactional_id)

    def copy(self, group: str, source: str, target: str, count: int) -> None:
        if self.name != "franz-go":
            super().copy(group, source, target, count)
        else:  # which sends offsets within a session of its own only
            self.program.ask(
                "copy", group=group, topic=source, target=target, total=count, protocol=self.protocol
            )

    def join(
        self, group: str, topic: str, instance_id: str | None = None, committed: bool | None = None
    ) -> Member:
        return ProgramMember(self.program, group, topic, instance_id, committed, self.protocol)

    def create_topic(
        self, topic: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        self.program.ask(
            "create_topic",
            topic=topic,
            partitions=partitions,
            replication=replication,
            configs=dict(configs or {}),
        )

    def delete_topic(self, topic: str) -> None:
        self.program.ask("delete_topic", topic=topic)

    def list_topics(self) -> set[str]:
        return set(self.program.ask("list_topics"))

    def partition_count(self, topic: str) -> int:
        count: int = self.program.ask("partition_count", topic=topic)
        return count

    def topic_config(self, topic: str) -> dict[str, str | None]:
        return dict(self.program.ask("topic_config", topic=topic))

    def set_topic_config(self, topic: str, key: str, value: str | None) -> None:
        self.program.ask("set_topic_config", topic=topic, key=key, value=value)

    def add_partitions(self, topic: str, total: int) -> None:
        self.program.ask("add_partitions", topic=topic, total=total)

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        self.program.ask("delete_records", topic=topic, partition=partition, before_offset=before_offset)

    def offset(self, topic: str, partition: int, query: OffsetQuery) -> int | None:
        offset: int | None = self.program.ask("offset", topic=topic, partition=partition, query=query)
        return offset

    def list_groups(self) -> set[str]:
        return set(self.program.ask("list_groups"))

    def describe_group(self, group: str) -> GroupDescription:
        answer = self.program.ask("describe_group", group=group, protocol=self.protocol)
        members = tuple(
            (instance_id, frozenset((topic, partition) for topic, partition in owned or []))
            for instance_id, owned in answer["members"] or []
        )
        return GroupDescription(answer["state"].lower(), members)

    def delete_group(self, group: str) -> None:
        self.program.ask("delete_group", group=group)

    def group_offsets(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        rows = self.program.ask("group_offsets", group=group, topic=topic)
        return {partition: (offset, metadata or "") for partition, offset, metadata in rows or []}

    def set_group_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        self.program.ask("set_group_offset", group=group, topic=topic, partition=partition, offset=offset)

    def delete_group_offset(self, group: str, topic: str, partition: int) -> None:
        self.program.ask("delete_group_offset", group=group, topic=topic, partition=partition)

    def log_size(self, topic: str) -> int:
        size: int = self.program.ask("log_size", topic=topic)
        return size

    def cluster(self) -> tuple[str, list[int]]:
        cluster_id, nodes = self.program.ask("cluster")
        return cluster_id, nodes
