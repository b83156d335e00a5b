"""The classic group protocol, member by member, and the administration of groups."""

import time
from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case


def subscription(*topics: str) -> bytes:
    """What a consumer says of itself when it joins (version 0). With less, Kafka 4.3 never answers."""
    names = b"".join(len(topic).to_bytes(2, "big") + topic.encode() for topic in topics)
    return b"\0\0" + len(topics).to_bytes(4, "big") + names + b"\xff" * 4


PROTOCOLS = (("range", subscription("a")), ("roundrobin", subscription("a")))


def ready(c: Conversation) -> None:
    raw.find_coordinator(c.connection, c.group)


def join_request(c: Conversation, member_id: str = "", **options: Any) -> Any:
    protocols = options.pop("protocols", PROTOCOLS)
    settings: dict[str, Any] = {
        "group_id": c.group,
        "session_timeout_ms": 30_000,
        "rebalance_timeout_ms": 30_000,
        "protocol_type": "consumer",
    }
    entries = [
        raw.struct_of("JoinGroup", "JoinGroupRequestProtocol", name=name, metadata=metadata)
        for name, metadata in protocols
    ]
    return raw.request_of(
        "JoinGroup", **{**settings, "member_id": member_id, "protocols": entries, **options}
    )


def join(c: Conversation, member_id: str = "", version: int = 9, **options: Any) -> Any:
    return c.ask(join_request(c, member_id, **options), version)


def sync_request(c: Conversation, generation: int, member_id: str, **options: Any) -> Any:
    assignments = [
        raw.struct_of("SyncGroup", "SyncGroupRequestAssignment", member_id=member, assignment=assignment)
        for member, assignment in options.pop("assignments", ())
    ]
    settings: dict[str, Any] = {
        "group_id": c.group,
        "protocol_type": "consumer",
        "protocol_name": "range",
    }
    return raw.request_of(
        "SyncGroup",
        **{
            **settings,
            "generation_id": generation,
            "member_id": member_id,
            "assignments": assignments,
            **options,
        },
    )


def sync(c: Conversation, generation: int, member_id: str, version: int = 5, **options: Any) -> Any:
    return c.ask(sync_request(c, generation, member_id, **options), version)


def heartbeat(c: Conversation, generation: int, member_id: str, version: int = 4, **options: Any) -> Any:
    request = raw.request_of(
        "Heartbeat", **{"group_id": c.group, "generation_id": generation, "member_id": member_id, **options}
    )
    return c.ask(request, version)


def leave(c: Conversation, *members: tuple[str, str | None], version: int = 5, **options: Any) -> Any:
    identities = [
        raw.struct_of("LeaveGroup", "MemberIdentity", member_id=member, group_instance_id=instance)
        for member, instance in members
    ]
    return c.ask(
        raw.request_of("LeaveGroup", **{"group_id": c.group, "members": identities, **options}), version
    )


def lone_member(c: Conversation, instance_id: str | None = None) -> str:
    """One member with its assignment, generation 1; asked for without noting."""
    member_id: str = c.quietly(join_request(c, group_instance_id=instance_id), 9).member_id
    if instance_id is None:
        answer = c.quietly(join_request(c, member_id), 9)
        assert answer.error_code == 0
    c.names[member_id] = "<member>"
    c.quietly(sync_request(c, 1, member_id, assignments=[(member_id, b"all of it")]), 5)
    return member_id


@case
def a_member_joins_in_two_steps(c: Conversation) -> None:
    ready(c)
    first = join(c)
    member_id = first.member_id
    c.names[member_id] = "<member>"
    join(c, member_id)
    sync(c, 1, member_id, assignments=[(member_id, b"assignment")])
    sync(c, 1, member_id)
    heartbeat(c, 1, member_id)
    leave(c, (member_id, None))
    heartbeat(c, 1, member_id)


@case
def join_in_every_version(c: Conversation) -> None:
    ready(c)
    for version in range(10):
        c.group = c.new_name(f"group {version}")
        answer = join(c, version=version)
        if answer.error_code == 79:
            answer = join(c, answer.member_id, version)
        member_id = answer.member_id
        sync(c, 1, member_id, min(version, 5), assignments=[(member_id, b"x")])
        heartbeat(c, 1, member_id, min(version, 4))
        if version < 3:
            c.ask(raw.request_of("LeaveGroup", group_id=c.group, member_id=member_id), version)
        else:
            leave(c, (member_id, None), version=min(version, 5))


@case
def join_with_odd_arguments(c: Conversation) -> None:
    ready(c)
    join(c, group_id="")
    join(c, "nobody-knows-me")
    join(c, session_timeout_ms=1)
    join(c, session_timeout_ms=100_000_000)
    join(c, protocols=())
    join(c, protocol_type="")
    join(c, group_instance_id="a b")


@case
def a_protocol_that_nobody_else_speaks(c: Conversation) -> None:
    ready(c)
    lone_member(c)
    join(c, protocols=(("sticky", subscription("a")),))
    join(c, protocol_type="connect")


@case
def sync_with_odd_arguments(c: Conversation) -> None:
    ready(c)
    member_id = lone_member(c)
    sync(c, 1, member_id)
    sync(c, 0, member_id)
    sync(c, 2, member_id)
    sync(c, 1, "nobody")
    sync(c, 1, member_id, group_id=c.new_name("other"))
    sync(c, 1, member_id, group_id="")
    sync(c, 1, member_id, protocol_type="connect")
    sync(c, 1, member_id, protocol_name="roundrobin")
    sync(c, 1, member_id, group_instance_id="stranger")


@case
def heartbeat_with_odd_arguments(c: Conversation) -> None:
    ready(c)
    member_id = lone_member(c)
    heartbeat(c, 1, member_id)
    heartbeat(c, 0, member_id)
    heartbeat(c, 2, member_id)
    heartbeat(c, -1, member_id)
    heartbeat(c, 1, "nobody")
    heartbeat(c, 1, "")
    heartbeat(c, 1, member_id, group_id=c.new_name("other"))
    heartbeat(c, 1, member_id, group_id="")
    heartbeat(c, 1, member_id, group_instance_id="stranger")


@case
def leave_with_odd_arguments(c: Conversation) -> None:
    ready(c)
    member_id = lone_member(c)
    leave(c, ("nobody", None))
    leave(c, (member_id, "stranger"))
    leave(c, ("", "stranger"))
    leave(c)
    leave(c, (member_id, None), group_id=c.new_name("other"))
    leave(c, (member_id, None), group_id="")
    leave(c, (member_id, None), ("nobody", None))
    leave(c, (member_id, None))


@case
def a_second_member_waits_for_the_first(c: Conversation) -> None:
    """The first learns of the rebalance by its heartbeat, both join, the leader assigns for both."""
    ready(c)
    first = lone_member(c)
    with raw.RawConnection(c.bootstrap) as other:
        second: str = other.ask(join_request(c), 9).member_id
        c.names[second] = "<second>"
        other.send_frame(raw.encode_request(join_request(c, second), 9, 77))
        while (
            c.quietly(
                raw.request_of("Heartbeat", group_id=c.group, generation_id=1, member_id=first)
            ).error_code
            == 0
        ):
            pass
        heartbeat(c, 1, first)
        sync(c, 1, first)
        answer = join(c, first)
        follower = raw.decode_response(11, 9, other.receive_frame(), 77)
        c.notes.append(
            [follower.error_code, follower.generation_id, len(follower.members), follower.leader == first]
        )
        assert len(answer.members) == 2
        heartbeat(c, 2, second)
        other.send_frame(raw.encode_request(sync_request(c, 2, second), 5, 78))
        sync(c, 2, first, assignments=[(first, b"half"), (second, b"other half")])
        synced = raw.decode_response(14, 5, other.receive_frame(), 78)
        c.notes.append(
            [synced.error_code, synced.assignment.hex() if isinstance(synced.assignment, bytes) else None]
        )
        heartbeat(c, 2, second)
        leave(c, (second, None))
        heartbeat(c, 2, first)
        join(c, first)
        sync(c, 3, first, assignments=[(first, b"all")])


@case
def a_member_that_is_silent_is_put_out(c: Conversation) -> None:
    ready(c)
    member_id: str = c.quietly(join_request(c, session_timeout_ms=6_000), 9).member_id
    c.names[member_id] = "<member>"
    assert c.quietly(join_request(c, member_id, session_timeout_ms=6_000), 9).error_code == 0
    c.quietly(sync_request(c, 1, member_id, assignments=[(member_id, b"x")]), 5)
    deadline = time.monotonic() + 60
    while c.quietly(raw.request_of("DescribeGroups", groups=[c.group])).groups[0].members:
        assert time.monotonic() < deadline, "it is still a member"
        time.sleep(0.1)
    heartbeat(c, 1, member_id)
    describe(c, c.group)


@case
def a_static_member(c: Conversation) -> None:
    ready(c)
    first = join(c, group_instance_id="one")
    old = first.member_id
    c.names[old] = "<old>"
    sync(c, 1, old, group_instance_id="one", assignments=[(old, b"mine")])
    again = join(c, group_instance_id="one")
    new = again.member_id
    c.names[new] = "<new>"
    assert new != old
    heartbeat(c, 1, old, group_instance_id="one")
    sync(c, 1, old, group_instance_id="one")
    join(c, old, group_instance_id="one")
    heartbeat(c, 1, new, group_instance_id="one")
    sync(c, 1, new, group_instance_id="one")
    leave(c, (old, "one"))
    leave(c, ("", "one"))
    leave(c, ("", "one"))


@case
def a_static_member_with_another_subscription(c: Conversation) -> None:
    ready(c)
    old = lone_member(c, "one")
    answer = join(c, group_instance_id="one", protocols=(("range", subscription("a", "b")),))
    c.names[answer.member_id] = "<new>"
    heartbeat(c, answer.generation_id, old, group_instance_id="one")


def describe(c: Conversation, *groups: str, version: int = 6) -> Any:
    return c.ask(raw.request_of("DescribeGroups", groups=list(groups)), version)


@case
def describe_groups_in_every_version(c: Conversation) -> None:
    ready(c)
    member_id = lone_member(c)
    for version in range(7):
        describe(c, c.group, version=version)
    describe(c, c.new_name("nobody"), version=5)
    describe(c, c.new_name("nobody too"))
    describe(c)
    c.quietly(raw.request_of("LeaveGroup", group_id=c.group, member_id=member_id), 1)
    describe(c, c.group)


@case
def list_groups(c: Conversation) -> None:
    ready(c)
    lone_member(c)
    for version in range(6):
        found = [
            one for one in c.quietly(raw.request_of("ListGroups"), version).groups if one.group_id == c.group
        ]
        c.notes.append([[one.protocol_type, one.group_state, one.group_type] for one in found])
    for states, types in (
        (["Stable"], []),
        (["stable"], []),
        (["Empty"], []),
        ([], ["classic"]),
        ([], ["consumer"]),
    ):
        answer = c.quietly(raw.request_of("ListGroups", states_filter=states, types_filter=types), 5)
        c.notes.append([answer.error_code, any(one.group_id == c.group for one in answer.groups)])
    answer = c.quietly(raw.request_of("ListGroups", states_filter=["Nonsense"], types_filter=["nonsense"]), 5)
    c.notes.append([answer.error_code, len(answer.groups)])


@case
def delete_groups(c: Conversation) -> None:
    ready(c)
    member_id = lone_member(c)
    nobody = c.new_name("nobody")
    for version in range(3):
        c.ask(raw.request_of("DeleteGroups", groups_names=[c.group, nobody]), version)
    c.quietly(raw.request_of("LeaveGroup", group_id=c.group, member_id=member_id), 1)
    c.ask(raw.request_of("DeleteGroups", groups_names=[c.group]), 2)
    c.ask(raw.request_of("DeleteGroups", groups_names=[c.group]), 2)
    describe(c, c.group)


@case
def find_coordinator(c: Conversation) -> None:
    ready(c)
    for version in range(4):
        c.ask(raw.request_of("FindCoordinator", key=c.group, key_type=0), version)
    for version in (4, 5, 6):
        c.ask(raw.request_of("FindCoordinator", key_type=0, coordinator_keys=[c.group, "other"]), version)
    c.ask(raw.request_of("FindCoordinator", key="", key_type=0), 3)
    c.ask(raw.request_of("FindCoordinator", key_type=0, coordinator_keys=[""]), 4)
    c.ask(raw.request_of("FindCoordinator", key_type=0, coordinator_keys=[]), 4)
    c.ask(raw.request_of("FindCoordinator", key=c.group, key_type=9), 3)
    c.ask(raw.request_of("FindCoordinator", key_type=9, coordinator_keys=[c.group]), 4)
