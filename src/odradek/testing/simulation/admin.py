"""The administrator of a simulation: makes and deletes topics, deletes records, changes configs."""

from odradek.core.errors import ErrorCode
from odradek.protocol.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from odradek.protocol.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from odradek.protocol.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from odradek.protocol.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.protocol.generated.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponseTopic
from odradek.testing.simulation.client import Client, TopicInfo
from odradek.testing.simulation.history import TopicPromise
from odradek.testing.simulation.network import Disconnected

MOST_TOPICS = 6
NEVER = (1 << 63) - 1


class Admin(Client):
    """One action after the other, each until it is certain."""

    async def run(self) -> None:
        while not self.world.is_ending:
            action = self.rng.choice(
                (
                    self._create,
                    self._create,
                    self._delete,
                    self._delete_records,
                    self._delete_records,
                    self._grow,
                )
            )
            await action()
            await self.loop.sleep(self.rng.randint(100, 2_000))

    async def _create(self) -> None:
        if sum(topic.is_alive for topic in self.world.topics) < MOST_TOPICS:
            # Names come again: what is left of an earlier topic must not be taken for the new one.
            taken = {topic.name for topic in self.world.topics if topic.is_alive}
            name = f"t{self.rng.randrange(MOST_TOPICS * 2)}"
            if name not in taken:
                await self.create(name, self.rng.randint(1, 3))

    async def create(self, name: str, partitions: int, *, is_plain: bool = False) -> TopicInfo:
        """Make a topic that must not be there, and know that it is."""
        rng = self.rng
        configs = {"segment.ms": rng.choice(("200", "3000", "100000"))}
        if not is_plain:
            configs["index.interval.bytes"] = str(rng.choice((100, 1_000)))
            configs["retention.ms"] = rng.choice(("-1", "5000", "600000"))
            configs["file.delete.delay.ms"] = rng.choice(("0", "1000"))
            configs["flush.messages"] = rng.choice(("1", "1", "1", str(NEVER), "7"))
        topic = CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=1,
            configs=[CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
        )
        while True:
            try:
                (result,) = (await self.call(CreateTopicsRequest(topics=[topic], timeout_ms=2_000), 7)).topics
            except Disconnected:
                continue
            code, topic_id = result.error_code, result.topic_id
            if code == ErrorCode.TOPIC_ALREADY_EXISTS:
                described = await self.describe(name)
                code, topic_id = described.error_code, described.topic_id
            if code == 0:
                break
            await self.back_off()
        info = TopicInfo(name, topic_id, partitions, configs.get("flush.messages", "1") == "1")
        self.note(f"made {name} {configs}")
        promise = TopicPromise(name, info.is_strict, int(configs.get("retention.ms", "-1")))
        self.history.topics[topic_id] = promise
        self.world.topics.append(info)
        return info

    async def describe(self, name: str) -> MetadataResponseTopic:
        """What Metadata says of a topic, once the broker says anything."""
        request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
        while True:
            try:
                described: MetadataResponseTopic = (await self.call(request, 12)).topics[0]
            except Disconnected:
                await self.back_off()
                continue
            return described

    async def _delete(self) -> None:
        topic = self.some_topic()
        if topic is None or topic in self.world.kept_topics or self.rng.random() < 0.5:
            return
        topic.is_alive = False
        self.history.deletion_asked(topic.topic_id)
        request = DeleteTopicsRequest(topics=[DeleteTopicState(topic_id=topic.topic_id)], timeout_ms=2_000)
        while True:
            try:
                (result,) = (await self.call(request, 6)).responses
                if result.error_code in (0, ErrorCode.UNKNOWN_TOPIC_ID):
                    break
            except Disconnected:
                continue
            await self.back_off()
        self.note(f"deleted {topic.name}")
        self.world.deleted_topics.append(topic)

    async def _grow(self) -> None:
        topic = self.some_topic()
        if topic is None or topic.partitions > 4 or self.rng.random() < 0.5:
            return
        wanted = CreatePartitionsTopic(name=topic.name, count=topic.partitions + 1)
        try:
            (result,) = (
                await self.call(CreatePartitionsRequest(topics=[wanted], timeout_ms=2_000), 3)
            ).results
        except Disconnected:
            return
        if result.error_code == 0 and topic not in self.world.kept_topics:
            topic.partitions += 1

    async def _delete_records(self) -> None:
        topic = self.some_topic()
        if topic is None:
            return
        partition = self.rng.randrange(topic.partitions)
        key = (topic.topic_id, partition)
        known = list(self.history.acknowledged.get(key, ()))
        if not known:
            return
        offset = self.rng.choice(known)
        self.history.records_deletion_asked(key, offset)
        wanted = DeleteRecordsPartition(partition_index=partition, offset=offset)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsTopic(name=topic.name, partitions=[wanted])], timeout_ms=2_000
        )
        try:
            answer = (await self.call(request, 2)).topics[0].partitions[0]
        except Disconnected:
            return
        self.note(f"deletes records of {topic.name}-{partition} below {offset}: {answer.error_code}")
        if answer.error_code == 0:
            self.history.records_deleted(key, answer.low_watermark)
