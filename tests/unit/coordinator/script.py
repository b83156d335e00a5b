"""Scripts of what clients do and what they get: blocks of commands, ``----``, and what came of them.

A member goes by a short name (A, B, …) that remembers the member id and generation it was last given.
Commands take ``key=value`` options; every command names its group with ``group=``, by default g.

    join A [instance= protocols=range,roundrobin topics=t session= rebalance= version= id=]
    sync A [A=work B=work …]      heartbeat A      leave A B … | leave instance=
    commit A t-0=5:metadata …     commit - t-0=5 (no member)       fetch t-0 … | fetch
    delete-offsets t-0 …          delete-groups g …                topics-deleted t …
    list [states= types=]         describe g       groups          timers
    at 3s                         expire           restart
    hold | flush | fail           refuse CODE | accept             settings name=number …
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odradek.coordinator.classic_join import Client
from odradek.coordinator.listing import describe_group, list_groups
from odradek.coordinator.settings import GroupSettings
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import ZERO_ID, TopicId
from odradek.protocol.generated.heartbeat import HeartbeatRequest
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from odradek.protocol.generated.leave_group import LeaveGroupRequest, MemberIdentity
from odradek.protocol.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.protocol.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)
from odradek.protocol.generated.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from odradek.protocol.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

from .harness import Harness, describe_record, show_work


def run_blocks(text: str, command: Callable[[str], list[str]]) -> str:
    """A script with what ``command`` really shows for the lines of each block, below its ``----``."""
    parts = []
    for block in text.rstrip().split("\n\n"):
        commands, separator, _ = block.partition("----")
        if not separator:
            parts.append(block)
            continue
        output: list[str] = []
        for line in commands.splitlines():
            if line and not line.startswith("#"):
                output.extend(command(line))
        parts.append("\n".join([commands.rstrip(), "----", *output]))
    return "\n\n".join(parts) + "\n"


class Script:
    """Runs the commands of one script file."""

    def __init__(self) -> None:
        self.harness = Harness()
        self.ids: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self.token_count = 0

    def run(self, text: str) -> str:
        """The same script with what really came of each block."""
        return run_blocks(text, self.command)

    def command(self, line: str) -> list[str]:
        name, *words = line.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        action: Callable[..., list[str] | None] = getattr(self, "do_" + name.replace("-", "_"))
        try:
            shown = action(plain, options) or []
        except ApiError as error:
            shown = [f"refused {error.code.name}"]
        return shown + self._happened()

    def _happened(self) -> list[str]:
        harness = self.harness
        lines = [f"write {describe_record(key, value)}" for key, value in harness.written]
        for token, response in harness.released:
            lines.append(f"{token.split('#')[0]}: {self._show(token, response)}")
        harness.written, harness.released = [], []
        return lines

    def _show(self, token: str, response: Any) -> str:
        who, api = token.split("#")[0].split(" ")
        if api == "join":
            return self._show_join(who, response)
        code = ErrorCode(response.error_code).name if hasattr(response, "error_code") else ""
        if api == "sync" and response.error_code == 0:
            return show_work(response.assignment)
        if api == "leave" and response.error_code == 0:
            members = (
                f"{m.member_id or m.group_instance_id}={ErrorCode(m.error_code).name}"
                for m in response.members
            )
            return " ".join(members) or "nobody"
        if api in ("commit", "delete-offsets") and not getattr(response, "error_code", 0):
            return " ".join(
                f"{topic.name}-{p.partition_index}={ErrorCode(p.error_code).name}"
                for topic in response.topics
                for p in topic.partitions
            )
        if api == "delete-groups":
            return " ".join(f"{r.group_id}={ErrorCode(r.error_code).name}" for r in response.results)
        return code

    def _show_join(self, who: str, response: Any) -> str:
        if response.member_id and response.error_code in (0, ErrorCode.MEMBER_ID_REQUIRED):
            self.ids[who] = response.member_id
        if response.error_code:
            return f"{ErrorCode(response.error_code).name} id={response.member_id or '-'}"
        self.generations[who] = response.generation_id
        members = ",".join(member.member_id for member in response.members)
        skip = " skip-assignment" if response.skip_assignment else ""
        return (
            f"generation {response.generation_id} {response.protocol_type}/{response.protocol_name}"
            f" id={response.member_id} leader={response.leader} members=[{members}]{skip}"
        )

    def topic_id(self, topic: str) -> TopicId:
        """What a commit says of its topic."""
        return ZERO_ID

    def assignment(self, text: str) -> bytes:
        """What a leader hands out."""
        return text.encode()

    def _token(self, who: str, api: str) -> str:
        self.token_count += 1
        return f"{who} {api}#{self.token_count}"

    # Membership

    def do_join(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        topics = options.get("topics", "t").split(",")
        subscription = struct.pack(">hi", 0, len(topics))
        subscription += b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
        names = [name for name in options.get("protocols", "range").split(",") if name]
        request = JoinGroupRequest(
            group_id=options.get("group", "g"),
            session_timeout_ms=milliseconds(options.get("session", "10s")),
            rebalance_timeout_ms=milliseconds(options.get("rebalance", "20s")),
            member_id=options.get("id", self.ids.get(who, "")),
            group_instance_id=options.get("instance"),
            protocol_type=options.get("type", "consumer"),
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=subscription + struct.pack(">i", -1))
                for name in names
            ],
        )
        client = Client(int(options.get("version", "9")), who, "/host")
        harness = self.harness
        harness.perform(harness.shard.join_group(request, client, self._token(who, "join"), harness.now))

    def do_sync(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        request = SyncGroupRequest(
            group_id=options.pop("group", "g"),
            generation_id=int(options.pop("generation", self.generations.get(who, -1))),
            member_id=options.pop("id", self.ids.get(who, "")),
            group_instance_id=options.pop("instance", None),
            protocol_type=options.pop("type", None),
            protocol_name=options.pop("protocol", None),
            assignments=[
                SyncGroupRequestAssignment(
                    member_id=self.ids.get(name, name), assignment=self.assignment(work)
                )
                for name, work in options.items()
            ],
        )
        harness = self.harness
        harness.perform(harness.shard.sync_group(request, self._token(who, "sync"), harness.now))

    def do_heartbeat(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        request = HeartbeatRequest(
            group_id=options.get("group", "g"),
            generation_id=int(options.get("generation", self.generations.get(who, -1))),
            member_id=options.get("id", self.ids.get(who, "")),
            group_instance_id=options.get("instance"),
        )
        harness = self.harness
        harness.perform(harness.shard.heartbeat(request, self._token(who, "heartbeat"), harness.now))

    def do_leave(self, plain: list[str], options: dict[str, str]) -> None:
        members = [MemberIdentity(member_id=self.ids.get(who, who)) for who in plain]
        if "instance" in options:
            members.append(
                MemberIdentity(member_id=options.get("id", ""), group_instance_id=options["instance"])
            )
        request = LeaveGroupRequest(group_id=options.get("group", "g"), members=members)
        harness = self.harness
        harness.perform(
            harness.shard.leave_group(request, self._token("+".join(plain) or "admin", "leave"), harness.now)
        )

    # Offsets

    def do_commit(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        is_member = who != "-"
        group_id, version = options.pop("group", "g"), int(options.pop("version", "9"))
        generation = int(options.pop("generation", self.generations.get(who, -1)))
        instance = options.pop("instance", None)
        retention_ms = milliseconds(options.pop("retention")) if "retention" in options else -1
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for partition_name, text in options.items():
            topic, _, index = partition_name.rpartition("-")
            offset, _, metadata = text.partition(":")
            entry = topics.setdefault(
                topic, OffsetCommitRequestTopic(name=topic, topic_id=self.topic_id(topic), partitions=[])
            )
            entry.partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=int(index),
                    committed_offset=int(offset),
                    committed_leader_epoch=-1,
                    committed_metadata=metadata * 5_000 if metadata == "x" else metadata,
                )
            )
        request = OffsetCommitRequest(
            group_id=group_id,
            generation_id_or_member_epoch=generation,
            member_id=self.ids.get(who, "") if is_member else "",
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=list(topics.values()),
        )
        harness = self.harness
        response = OffsetCommitResponse(topics=[])
        token = self._token(who, "commit")
        harness.perform(
            harness.shard.commit_offsets(request, request.topics, response, version, token, harness.now)
        )

    def do_fetch(self, plain: list[str], options: dict[str, str]) -> list[str]:
        topics = None
        if plain:
            names = [name.rpartition("-") for name in plain]
            topics = [OffsetFetchRequestTopics(name=name, partition_indexes=[int(i)]) for name, _, i in names]
        request = OffsetFetchRequestGroup(group_id=options.get("group", "g"), topics=topics)
        response = self.harness.shard.fetch_offsets(request, require_stable=True)
        found = [
            f"{topic.name}-{p.partition_index} = {p.committed_offset} {p.metadata}".rstrip()
            for topic in response.topics
            for p in topic.partitions
        ]
        return found or ["no offsets"]

    def do_delete_offsets(self, plain: list[str], options: dict[str, str]) -> None:
        request = OffsetDeleteRequest(
            group_id=options.get("group", "g"),
            topics=[
                OffsetDeleteRequestTopic(
                    name=name.rpartition("-")[0],
                    partitions=[OffsetDeleteRequestPartition(partition_index=int(name.rpartition("-")[2]))],
                )
                for name in plain
            ],
        )
        harness = self.harness
        token = self._token("admin", "delete-offsets")
        response = OffsetDeleteResponse(error_code=0, topics=[])
        harness.perform(harness.shard.delete_offsets(request, response, token, harness.now))

    def do_delete_groups(self, plain: list[str], options: dict[str, str]) -> None:
        harness = self.harness
        harness.perform(harness.shard.delete_groups(plain, self._token("admin", "delete-groups")))

    def do_topics_deleted(self, plain: list[str], options: dict[str, str]) -> None:
        harness = self.harness
        harness.perform(harness.shard.forget_offsets(lambda topic, _: topic in plain))

    def do_expire(self, plain: list[str], options: dict[str, str]) -> None:
        for step in self.harness.shard.expire(self.harness.now):
            self.harness.perform(step)

    # What there is

    def do_list(self, plain: list[str], options: dict[str, str]) -> list[str]:
        states = options["states"].split(",") if "states" in options else []
        types = options["types"].split(",") if "types" in options else []
        groups = list_groups(self.harness.shard.groups.values(), states, types)
        return [f"{g.group_id} {g.protocol_type or '-'} {g.group_state} {g.group_type}" for g in groups] or [
            "no groups"
        ]

    def do_describe(self, plain: list[str], options: dict[str, str]) -> list[str]:
        version = int(options.get("version", "6"))
        lines = []
        for group_id in plain:
            found = describe_group(group_id, self.harness.shard.groups.get(group_id), version)
            code = ErrorCode(found.error_code).name
            kind = f"{found.protocol_type or '-'}/{found.protocol_data or '-'}"
            lines.append(f"{group_id} {code} {found.group_state} {kind} {found.error_message or ''}".rstrip())
            for member in found.members:
                instance, work = member.group_instance_id or "-", show_work(member.member_assignment)
                lines.append(
                    f"  {member.member_id} {instance} {member.client_id} {member.client_host}"
                    f" metadata={len(member.member_metadata)}B assignment={work}"
                )
        return lines

    def do_groups(self, plain: list[str], options: dict[str, str]) -> list[str]:
        lines = []
        for group in self.harness.shard.groups.values():
            pending = " ".join(sorted(group.pending_members))
            lines.append(
                f"{group.group_id} {group.state.value} generation {group.generation}"
                f" leader {group.leader_id or '-'} members [{' '.join(group.members)}] pending [{pending}]"
            )
        return lines or ["no groups"]

    def do_timers(self, plain: list[str], options: dict[str, str]) -> list[str]:
        timers = sorted((deadline, key) for key, deadline in self.harness.timers.items())
        return [f"{deadline / 1000:g}s {' '.join(key)}" for deadline, key in timers] or ["no timers"]

    # The world

    def do_at(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.advance(milliseconds(plain[0]))

    def do_hold(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.flushes = False

    def do_flush(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.flushes = True
        self.harness.flush()

    def do_fail(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.fail()

    def do_refuse(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.refusal = ErrorCode[plain[0]]

    def do_accept(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.refusal = None

    def do_restart(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.restart()

    def do_settings(self, plain: list[str], options: dict[str, str]) -> None:
        changes = {name: int(number) for name, number in options.items()}
        self.harness = Harness(GroupSettings()._replace(**changes))


def milliseconds(text: str) -> int:
    """``3s`` or ``150ms`` or ``2h``."""
    for unit, factor in (("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)):
        if text.endswith(unit) and text[: -len(unit)].isdigit():
            return int(text[: -len(unit)]) * factor
    raise ValueError(text)


def script_files(folder: str = "") -> list[Path]:
    return sorted((Path(__file__).parent / "scripts" / folder).glob("*.txt"))
