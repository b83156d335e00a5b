"""Client quotas: set, filtered and refused; and a producer and a consumer that exceed theirs."""

import os
import struct
import time
from typing import Any

from odradek.protocol.primitives import Message
from tests.conformance import raw
from tests.conformance.cases import Conversation, case

EXACT, DEFAULT, SPECIFIED = range(3)
Entity = dict[str, str | None]


def alter(c: Conversation, entity: Any, version: int = 1, validate: bool = False, **limits: Any) -> Any:
    parts = entity.items() if isinstance(entity, dict) else entity
    entry = raw.struct_of(
        "AlterClientQuotas",
        "RequestEntryData",
        entity=[
            raw.struct_of("AlterClientQuotas", "RequestEntityData", entity_type=kind, entity_name=name)
            for kind, name in parts
        ],
        ops=[
            raw.struct_of("AlterClientQuotas", "OpData", key=key, value=value or 0.0, remove=value is None)
            for key, value in limits.items()
        ],
    )
    request = raw.request_of("AlterClientQuotas", entries=[entry], validate_only=validate)
    return c.quietly(request, version)


def ask_as(connection: raw.RawConnection, client_id: str, request: Message, version: int) -> Any:
    """Under a client id of one's own: what others used of their quotas must not count."""
    frame = raw.encode_request(request, version, 1)
    (length,) = struct.unpack_from(">h", frame, 8)
    name = client_id.encode()
    connection.send_frame(frame[:8] + struct.pack(">h", len(name)) + name + frame[10 + length :])
    return raw.decode_response(request.API_KEY, version, connection.receive_frame(), 1)


def codes(answer: Any) -> list[int]:
    return [entry.error_code for entry in answer.entries]


def find(c: Conversation, *parts: tuple[str, int, str | None], version: int = 1, strict: bool = False) -> Any:
    components = [
        raw.struct_of("DescribeClientQuotas", "ComponentData", entity_type=kind, match_type=how, match=name)
        for kind, how, name in parts
    ]
    return c.quietly(raw.request_of("DescribeClientQuotas", components=components, strict=strict), version)


def plain(c: Conversation, answer: Any) -> Any:
    """Entities and limits in one order."""
    if answer.entries is None:
        return [answer.error_code, None]
    return [
        answer.error_code,
        sorted(
            [
                sorted([part.entity_type, str(c.names.get(part.entity_name, part.entity_name))])
                for part in sorted(entry.entity, key=lambda part: part.entity_type)
            ]
            + sorted([value.key, value.value] for value in entry.values)
            for entry in answer.entries
        ),
    ]


def until(c: Conversation, entity: Entity, count: int) -> None:
    """Kafka's broker learns a moment later what its controller has taken."""
    parts = [(kind, DEFAULT if name is None else EXACT, name) for kind, name in entity.items()]
    deadline = time.monotonic() + 60
    while sum(len(entry.values) for entry in find(c, *parts, strict=True).entries) != count:
        assert time.monotonic() < deadline, f"the quotas of {entity} are not {count}"
        time.sleep(0.02)
    time.sleep(0.1)


@case
def quotas_are_set_found_and_removed(c: Conversation) -> None:
    user, client = c.new_name("user"), c.new_name("client")
    both: Entity = {"user": user, "client-id": client}
    for version in (0, 1):
        made = alter(c, {"user": user}, version, producer_byte_rate=1000.0, request_percentage=12.5)
        c.notes.append(codes(made))
        c.notes.append(codes(alter(c, both, version, consumer_byte_rate=7.0)))
        c.notes.append(codes(alter(c, {"user": user}, version, validate=True, controller_mutation_rate=3.0)))
        until(c, {"user": user}, 2)
        until(c, both, 1)
        for parts in (
            [("user", EXACT, user)],
            [("user", EXACT, user), ("client-id", SPECIFIED, None)],
            [("user", EXACT, user), ("client-id", DEFAULT, None)],
            [("client-id", EXACT, client)],
        ):
            for strict in (False, True):
                c.notes.append(plain(c, find(c, *parts, version=version, strict=strict)))
        c.notes.append(
            codes(alter(c, {"user": user}, version, producer_byte_rate=None, request_percentage=None))
        )
        c.notes.append(codes(alter(c, both, version, consumer_byte_rate=None, producer_byte_rate=None)))
        until(c, {"user": user}, 0)
        until(c, both, 0)
        c.notes.append(plain(c, find(c, ("user", EXACT, user), version=version)))


@case
def quotas_that_make_no_sense(c: Conversation) -> None:
    user = c.new_name("user")
    for entity, limits in (
        ([], {"producer_byte_rate": 1.0}),
        ([("team", "x")], {"producer_byte_rate": 1.0}),
        ([("ip", "127.0.0.1"), ("user", user)], {"connection_creation_rate": 1.0}),
        ([("ip", "127.0.0.1")], {"producer_byte_rate": 1.0}),
        ([("user", user)], {"connection_creation_rate": 1.0}),
        ([("user", user)], {"no_such_rate": 1.0}),
        ([("user", user)], {"producer_byte_rate": 0.0}),
        ([("user", user)], {"producer_byte_rate": -5.0}),
        ([("user", user)], {"producer_byte_rate": 1.5}),
        ([("user", user)], {"producer_byte_rate": 1e300}),
        ([("ip", "127.0.0.1")], {"connection_creation_rate": 1e10}),
        ([("user", user)], {"no_such_rate": None}),
        ([("user", user)], {}),
    ):
        c.notes.append(codes(alter(c, entity, **limits)))


@case
def quota_filters_that_make_no_sense(c: Conversation) -> None:
    for parts in (
        [("", EXACT, "x")],
        [("team", EXACT, "x")],
        [("user", 9, None)],
        [("user", EXACT, None)],
        [("user", DEFAULT, "x")],
        [("user", SPECIFIED, "x")],
        [("user", SPECIFIED, None), ("user", SPECIFIED, None)],
        [("user", SPECIFIED, None), ("ip", SPECIFIED, None)],
    ):
        c.notes.append(plain(c, find(c, *parts)))


@case
def who_exceeds_a_quota_is_told_and_left_alone(c: Conversation) -> None:
    """105 KB at a rate of 10 KB/s over windows of ten seconds: half a second, roughly."""
    c.create()
    me = c.new_name("client")
    request = raw.produce_request(c.topic, 0, bytes(raw.batch_of(os.urandom(105_000))))
    alter(c, {"client-id": me}, producer_byte_rate=10_000.0)
    until(c, {"client-id": me}, 1)
    with raw.RawConnection(c.bootstrap) as connection:
        started = time.monotonic()  # before the answer, however late this thread hears of that
        answer = ask_as(connection, me, request, 9)
        c.notes.append(answer.responses[0].partition_responses[0].error_code)
        c.notes.append(400 < answer.throttle_time_ms < 700)
        connection.ask(raw.request_of("ListGroups"))
        c.notes.append(0.4 < time.monotonic() - started < 30)
    alter(c, {"client-id": me}, producer_byte_rate=None)
    until(c, {"client-id": me}, 0)
    c.notes.append(ask_as(c.connection, me, request, 9).throttle_time_ms)


@case
def too_many_partitions_are_refused_until_the_quota_allows_them(c: Conversation) -> None:
    """At one partition per ten seconds; eleven windows of a second can be saved up, which is one."""
    me = c.new_name("client")

    def make(word: str, count: int, version: int) -> None:
        topic = raw.struct_of(
            "CreateTopics",
            "CreatableTopic",
            name=c.new_name(word),
            num_partitions=count,
            replication_factor=1,
            assignments=[],
            configs=[],
        )
        request = raw.request_of("CreateTopics", topics=[topic], timeout_ms=10_000)
        with raw.RawConnection(c.bootstrap) as connection:
            answer = ask_as(connection, me, request, version)
        c.notes.append([word, answer.topics[0].error_code, answer.throttle_time_ms > 0])

    alter(c, {"client-id": me}, controller_mutation_rate=0.1)
    until(c, {"client-id": me}, 1)
    make("more than there is", 3, 7)
    make("one more", 1, 7)
    make("of an old client", 1, 5)
    alter(c, {"client-id": me}, controller_mutation_rate=None)
    until(c, {"client-id": me}, 0)
    make("without a quota", 3, 7)
