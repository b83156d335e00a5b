"""Commands of scripts for consumer groups (KIP-848); those of ``script.py`` work beside them.

A member's id is its short name. What it knows is its last epoch, which it sends; an error makes it join.

    topics t=4 u=1              the topics that there are, with so many partitions
    beat A [topics=t,u regex= owned=t:0,1 epoch= instance= rack= assignor= rebalance= version= id=]
                                a heartbeat; in epoch 0 it is a join, with owned= nothing and topics=t
    depart A [instance=]        leaves                       away A instance=   leaves for a while
    consumers [g …]             groups with their members    why [g]            causes of rebalances
    commit A t-0=5 epoch=       as in script.py, by member epoch
    config session=45s heartbeat=5s interval=1s              of all groups, from now on
"""

from typing import Any

from odradek.coordinator.classic_join import Client
from odradek.coordinator.consumer_group import ConsumerGroup
from odradek.coordinator.consumer_protocol import write_assignment
from odradek.coordinator.settings import MigrationPolicy
from odradek.core.config.groups import ConsumerGroupConfig
from odradek.core.errors import ErrorCode
from odradek.core.ids import TopicId
from odradek.protocol.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    RequestTopicPartitions,
)
from odradek.protocol.generated.consumer_protocol import (
    ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
)
from odradek.protocol.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol

from .harness import WALL_START_MS, Harness, show_partitions, show_progress, topic_id_of
from .script import Script, milliseconds


class ConsumerScript(Script):
    """Runs scripts that are about consumer groups."""

    def __init__(self) -> None:
        super().__init__()
        self.harness.set_topics({"t": 4})

    def _show(self, token: str, response: Any) -> str:
        who, api = token.split("#")[0].split(" ")
        if api not in ("beat", "depart", "away"):
            return super()._show(token, response)
        if response.error_code:
            self.generations.pop(who, None)
            return ErrorCode(response.error_code).name
        self.generations[who] = max(response.member_epoch, 0)
        text = f"epoch {response.member_epoch}"
        if response.assignment is not None:
            parts = {part.topic_id: part.partitions for part in response.assignment.topic_partitions}
            text += f" assignment {show_partitions(parts)}"
        return text

    def topic_id(self, topic: str) -> TopicId:
        return topic_id_of(topic)

    def assignment(self, text: str) -> bytes:
        """``t:0,1;u:0`` in the consumer protocol."""
        parts = {part.topic_id: part.partitions for part in _owned(text) or ()}
        return write_assignment(parts, self.harness.topics, b"\0\1")

    def do_join(self, plain: list[str], options: dict[str, str]) -> None:
        """As in script.py, with ``owned=``: what a cooperative consumer says that it has."""
        who, version = plain[0], int(options.get("version", "9"))
        owned = [part.split(":") for part in options.get("owned", "").split(";") if part]
        subscription = ConsumerProtocolSubscription(
            topics=_names(options.get("topics", "t")) or [],
            user_data=None,
            owned_partitions=[
                ConsumerProtocolSubscriptionTopicPartition(
                    topic=name, partitions=list(map(int, numbers.split(",")))
                )
                for name, numbers in owned
            ],
            rack_id=None,
        )
        parts: list[bytes] = [b"\0\3"]
        subscription.encode(parts, 3)
        metadata = b"x" if options.get("metadata") == "bad" else b"".join(parts)
        request = JoinGroupRequest(
            group_id=options.get("group", "g"),
            session_timeout_ms=milliseconds(options.get("session", "10s")),
            rebalance_timeout_ms=milliseconds(options.get("rebalance", "20s")),
            member_id=options.get("id", self.ids.get(who, "")),
            group_instance_id=options.get("instance"),
            protocol_type=options.get("type", "consumer"),
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name in _names(options.get("protocols", "range")) or []
            ],
        )
        harness = self.harness
        token = self._token(who, "join")
        harness.perform(harness.shard.join_group(request, Client(version, who, "/host"), token, harness.now))

    def _heartbeat(self, who: str, api: str, options: dict[str, str], **fields: Any) -> None:
        version = int(options.get("version", "1"))
        request = ConsumerGroupHeartbeatRequest(
            group_id=options.get("group", "g"),
            member_id=options.get("id", who),
            instance_id=options.get("instance"),
            **fields,
        )
        harness = self.harness
        self.ids[who] = request.member_id
        client = Client(version, who, "/host")
        token = self._token(who, api)
        harness.perform(harness.shard.consumer_heartbeat(request, client, token, harness.now))

    def do_beat(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        epoch = int(options.get("epoch", self.generations.get(who, 0)))
        if epoch == 0:
            options = {
                "owned": "",
                "rebalance": "20s",
                **({} if "regex" in options else {"topics": "t"}),
                **options,
            }
        self._heartbeat(
            who,
            "beat",
            options,
            member_epoch=epoch,
            rack_id=options.get("rack"),
            rebalance_timeout_ms=milliseconds(options["rebalance"]) if "rebalance" in options else -1,
            subscribed_topic_names=_names(options.get("topics")),
            subscribed_topic_regex=options.get("regex"),
            server_assignor=options.get("assignor"),
            topic_partitions=_owned(options.get("owned")),
        )

    def do_depart(self, plain: list[str], options: dict[str, str]) -> None:
        self._heartbeat(plain[0], "depart", options, member_epoch=-1)

    def do_away(self, plain: list[str], options: dict[str, str]) -> None:
        self._heartbeat(plain[0], "away", options, member_epoch=-2)

    def do_topics(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.set_topics({name: int(count) for name, count in options.items()})

    def do_config(self, plain: list[str], options: dict[str, str]) -> None:
        times = {name: milliseconds(text) for name, text in options.items()}
        now = self.harness.config
        self.harness.config = ConsumerGroupConfig(
            times.get("session", now.session_timeout_ms),
            times.get("heartbeat", now.heartbeat_interval_ms),
            times.get("interval", now.assignment_interval_ms),
        )

    def do_consumers(self, plain: list[str], options: dict[str, str]) -> list[str]:
        lines = []
        for group in self.harness.shard.groups.values():
            if not isinstance(group, ConsumerGroup) or (plain and group.group_id not in plain):
                continue
            lines.append(
                f"{group.group_id} {group.state.value} epoch {group.epoch} target {group.target_epoch}"
            )
            for member in group.members.values():
                target = show_partitions(group.targets.get(member.member_id, {}))
                kind = " classic" if member.is_classic else ""
                lines.append(f"  {member.member_id}{kind} at {show_progress(member.at)} target {target}")
        return lines or ["no consumer groups"]

    def do_why(self, plain: list[str], options: dict[str, str]) -> list[str]:
        group = self.harness.shard.groups[plain[0] if plain else "g"]
        return [
            f"{(entry.wall_ms - WALL_START_MS) / 1000:g}s {entry.epoch}"
            f" {entry.member_id or '-'} {entry.cause.value}{' ' if entry.detail else ''}{entry.detail}"
            for entry in group.rebalances.all()
        ] or ["nothing"]

    def do_settings(self, plain: list[str], options: dict[str, str]) -> None:
        policy = MigrationPolicy[options.pop("policy", "BIDIRECTIONAL")]
        topics = self.harness.topics
        self.ids.clear()
        self.generations.clear()
        super().do_settings(plain, options)
        self.harness = Harness(self.harness.settings._replace(migration_policy=policy))
        self.harness.set_topics({name: len(topic.partitions) for name, topic in topics.by_name.items()})


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name for name in text.split(",") if name]


def _owned(text: str | None) -> list[RequestTopicPartitions] | None:
    """``t:0,1;u:0``, or nothing at all."""
    if text is None:
        return None
    parts = [part.split(":") for part in text.split(";") if part]
    return [
        RequestTopicPartitions(topic_id=topic_id_of(name), partitions=[int(n) for n in numbers.split(",")])
        for name, numbers in parts
    ]
