"""Topics created, deleted, extended and described; the cluster and its log directories."""

from typing import Any

from tests.conformance import raw
from tests.conformance.cases import Conversation, case

TOPIC_CONFIG = 1
"""Source of a config that was set for the topic itself."""


def creatable(name: str, partitions: int = 1, replication: int = 1, **fields: Any) -> Any:
    return raw.struct_of(
        "CreateTopics",
        "CreatableTopic",
        name=name,
        num_partitions=partitions,
        replication_factor=replication,
        **fields,
    )


def create(c: Conversation, *topics: Any, version: int = 7, **fields: Any) -> Any:
    """The configs of a new topic are noted by name and value only where they are not the default."""
    answer = c.quietly(
        raw.request_of("CreateTopics", topics=list(topics), timeout_ms=10_000, **fields), version
    )
    for topic in sorted(answer.topics, key=lambda one: c.names.get(one.name, one.name)):
        set_here = [one for one in topic.configs or [] if one.config_source == TOPIC_CONFIG]
        note = {
            "name": c.names.get(topic.name, topic.name),
            "error_code": topic.error_code,
            "num_partitions": topic.num_partitions,
            "replication_factor": topic.replication_factor,
            "topic_config_error_code": topic.topic_config_error_code,
            "configs": sorted([one.name, one.value] for one in set_here),
        }
        c.notes.append(note)
    return answer


def config(name: str, value: str | None) -> Any:
    return raw.struct_of("CreateTopics", "CreatableTopicConfig", name=name, value=value)


def assignment(partition: int, *brokers: int) -> Any:
    return raw.struct_of(
        "CreateTopics", "CreatableReplicaAssignment", partition_index=partition, broker_ids=list(brokers)
    )


@case
def create_topics_in_every_version(c: Conversation) -> None:
    for version in range(2, 8):
        create(c, creatable(c.new_name(f"topic {version}"), 2), version=version)


@case
def create_topics_with_defaults_of_the_broker(c: Conversation) -> None:
    create(c, creatable(c.topic, -1, -1))


@case
def create_topics_with_odd_numbers(c: Conversation) -> None:
    for partitions, replication in ((0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (1, 32_767)):
        create(c, creatable(c.topic, partitions, replication))


@case
def create_topics_with_odd_names(c: Conversation) -> None:
    for name in ("", ".", "..", "a b", "ä", "a/b", "a\0b", "x" * 250, "x,y", "__consumer_offsets "):
        create(c, creatable(name))


@case
def create_topics_whose_names_collide(c: Conversation) -> None:
    for mark in "._":
        name = c.topic.replace("-", mark)
        c.names[name] = f"<topic {mark}>"
        create(c, creatable(name))


@case
def create_topics_that_are_there(c: Conversation) -> None:
    create(c, creatable(c.topic))
    create(c, creatable(c.topic))
    create(c, creatable(c.topic, 0))


@case
def create_one_topic_twice_in_a_request(c: Conversation) -> None:
    other = c.new_name("other")
    create(c, creatable(c.topic), creatable(c.topic), creatable(other))


@case
def create_topics_to_see_whether_it_would_work(c: Conversation) -> None:
    create(c, creatable(c.topic, 3), validate_only=True)
    create(c, creatable(c.topic, 3))
    create(c, creatable(c.topic, 3), validate_only=True)


@case
def create_topics_with_configs(c: Conversation) -> None:
    create(
        c, creatable(c.topic, configs=[config("retention.ms", "5000"), config("cleanup.policy", "compact")])
    )


@case
def create_topics_with_invalid_configs(c: Conversation) -> None:
    for name, value in (
        ("nonsense", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", None),
        ("cleanup.policy", "burn"),
        ("max.message.bytes", "-1"),
        ("min.insync.replicas", "0"),
        ("message.timestamp.type", "Never"),
        ("compression.type", "rar"),
        ("segment.bytes", "1"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("preallocate", "perhaps"),
        ("", "x"),
    ):
        create(c, creatable(c.new_name("bad"), configs=[config(name, value)]))


@case
def create_topics_with_assignments(c: Conversation) -> None:
    both = [assignment(0, 1), assignment(1, 1)]
    create(c, creatable(c.topic, -1, -1, assignments=both))
    create(c, creatable(c.new_name("a"), 2, -1, assignments=both))
    create(c, creatable(c.new_name("b"), -1, 1, assignments=both))
    create(c, creatable(c.new_name("c"), -1, -1, assignments=[assignment(0, 1), assignment(2, 1)]))
    create(c, creatable(c.new_name("d"), -1, -1, assignments=[assignment(0, 99)]))
    create(c, creatable(c.new_name("e"), -1, -1, assignments=[assignment(0)]))
    create(c, creatable(c.new_name("f"), -1, -1, assignments=[assignment(0, 1, 1)]))
    create(c, creatable(c.new_name("g"), -1, -1, assignments=[assignment(0, 1), assignment(0, 1)]))


@case
def delete_topics_in_every_version(c: Conversation) -> None:
    for version in range(1, 7):
        name = c.new_name("doomed")
        c.names[raw.create_topic(c.connection, name)] = "<doomed id>"
        if version < 6:
            c.ask(raw.request_of("DeleteTopics", topic_names=[name], timeout_ms=10_000), version)
        else:
            topics = [raw.struct_of("DeleteTopics", "DeleteTopicState", name=name)]
            c.ask(raw.request_of("DeleteTopics", topics=topics, timeout_ms=10_000), version)


@case
def delete_topics_by_id(c: Conversation) -> None:
    topic_id = c.create()

    def delete(**which: Any) -> None:
        topics = [raw.struct_of("DeleteTopics", "DeleteTopicState", **which)]
        c.ask(raw.request_of("DeleteTopics", topics=topics, timeout_ms=10_000), 6)

    delete(name=c.topic, topic_id=topic_id)
    delete(name=None, topic_id=bytes(range(16)))
    delete(name=None, topic_id=bytes(16))
    delete(name=None, topic_id=topic_id)
    delete(name=None, topic_id=topic_id)
    delete(name=c.topic)
    delete(name="")
    delete(name="a b")


@case
def delete_one_topic_twice_in_a_request(c: Conversation) -> None:
    c.create()
    c.ask(raw.request_of("DeleteTopics", topic_names=[c.topic, c.topic], timeout_ms=10_000), 5)


def add_partitions(c: Conversation, count: int, topic: str = "", version: int = 3, **fields: Any) -> None:
    wanted = raw.struct_of(
        "CreatePartitions",
        "CreatePartitionsTopic",
        name=topic or c.topic,
        count=count,
        assignments=fields.pop("assignments", None),
    )
    c.ask(raw.request_of("CreatePartitions", topics=[wanted], timeout_ms=10_000, **fields), version)


@case
def create_partitions(c: Conversation) -> None:
    c.create()
    for version, count in ((0, 2), (1, 3), (2, 4), (3, 5)):
        add_partitions(c, count, version=version)
    for count in (5, 4, 0, -1):
        add_partitions(c, count)
    add_partitions(c, 9, validate_only=True)
    add_partitions(c, 6, c.new_name("nobody"))
    add_partitions(c, 6)


@case
def create_partitions_with_assignments(c: Conversation) -> None:
    c.create()

    def on(*brokers: int) -> Any:
        return raw.struct_of("CreatePartitions", "CreatePartitionsAssignment", broker_ids=list(brokers))

    add_partitions(c, 2, assignments=[on(1)])
    add_partitions(c, 4, assignments=[on(1)])
    add_partitions(c, 3, assignments=[on(99)])
    add_partitions(c, 3, assignments=[on(1, 1)])
    add_partitions(c, 3, assignments=[on()])
    add_partitions(c, 3, assignments=[])


@case
def create_partitions_of_one_topic_twice(c: Conversation) -> None:
    c.create()
    topics = [
        raw.struct_of(
            "CreatePartitions", "CreatePartitionsTopic", name=c.topic, count=count, assignments=None
        )
        for count in (2, 3)
    ]
    c.ask(raw.request_of("CreatePartitions", topics=topics, timeout_ms=10_000), 3)


def metadata(c: Conversation, *topics: Any, version: int = 13, **fields: Any) -> None:
    wanted = [raw.struct_of("Metadata", "MetadataRequestTopic", **one) for one in topics]
    answer = c.quietly(raw.request_of("Metadata", topics=wanted, **fields), version)
    for topic in answer.topics:
        partitions = [
            [
                one.partition_index,
                one.error_code,
                one.leader_epoch,
                len(one.replica_nodes),
                len(one.isr_nodes),
            ]
            for one in sorted(topic.partitions, key=lambda one: one.partition_index)
        ]
        name = c.names.get(topic.name, topic.name)
        topic_id = c.names.get(topic.topic_id, "no id" if topic.topic_id == bytes(16) else "an id")
        c.notes.append([topic.error_code, name, topic_id, topic.is_internal, partitions])
    c.notes.append(len(answer.brokers))


@case
def metadata_in_every_version(c: Conversation) -> None:
    c.create(2)
    for version in range(14):
        metadata(c, {"name": c.topic}, version=version)


@case
def metadata_of_what_is_not_there(c: Conversation) -> None:
    for version in (4, 9, 12):
        metadata(c, {"name": c.new_name("nobody")}, version=version, allow_auto_topic_creation=False)
    metadata(c, {"name": None, "topic_id": bytes(range(16))}, version=12, allow_auto_topic_creation=False)
    metadata(c, {"name": "a b"}, allow_auto_topic_creation=True)
    metadata(c, {"name": ""}, allow_auto_topic_creation=True)
    metadata(c, {"name": "a b"}, allow_auto_topic_creation=False)


@case
def metadata_by_id(c: Conversation) -> None:
    topic_id = c.create()
    metadata(c, {"name": None, "topic_id": topic_id}, version=12)
    metadata(c, {"name": None, "topic_id": topic_id}, version=13)


@case
def metadata_of_no_topics(c: Conversation) -> None:
    for version in (1, 9, 13):
        metadata(c, version=version)


@case
def authorized_operations(c: Conversation) -> None:
    c.create()
    wanted = [raw.struct_of("Metadata", "MetadataRequestTopic", name=c.topic)]
    answer = c.quietly(
        raw.request_of("Metadata", topics=wanted, include_topic_authorized_operations=True), 12
    )
    c.notes.append(answer.topics[0].topic_authorized_operations)
    answer = c.quietly(raw.request_of("Metadata", topics=wanted), 12)
    c.notes.append(answer.topics[0].topic_authorized_operations)
    for wants in (True, False):
        answer = c.quietly(raw.request_of("DescribeCluster", include_cluster_authorized_operations=wants), 1)
        c.notes.append(answer.cluster_authorized_operations)


@case
def describe_cluster(c: Conversation) -> None:
    for version in range(3):
        c.ask(raw.request_of("DescribeCluster", endpoint_type=1), version)
    c.ask(raw.request_of("DescribeCluster", endpoint_type=2), 1)
    c.ask(raw.request_of("DescribeCluster", endpoint_type=9), 1)


def describe_partitions(c: Conversation, *names: str, limit: int = 2_000, cursor: Any = None) -> None:
    topics = [raw.struct_of("DescribeTopicPartitions", "TopicRequest", name=name) for name in names]
    request = raw.request_of(
        "DescribeTopicPartitions", topics=topics, response_partition_limit=limit, cursor=cursor
    )
    c.ask(request, 0)


@case
def describe_topic_partitions(c: Conversation) -> None:
    c.create(3)
    describe_partitions(c, c.topic)
    describe_partitions(c, c.topic, limit=2)
    begin = raw.struct_of("DescribeTopicPartitions", "RequestCursor", topic_name=c.topic, partition_index=2)
    describe_partitions(c, c.topic, cursor=begin)
    describe_partitions(c, c.new_name("nobody"))
    describe_partitions(c, "a b")
    describe_partitions(c, c.topic, limit=0)
    behind = raw.struct_of("DescribeTopicPartitions", "RequestCursor", topic_name=c.topic, partition_index=-1)
    describe_partitions(c, c.topic, cursor=behind)


@case
def describe_log_dirs(c: Conversation) -> None:
    c.create(2)
    c.quietly(raw.produce_request(c.topic, 0, raw.batch_of(b"x")), raw.PRODUCE_BY_NAME)
    for version in range(1, 6):
        for partitions in ([0, 1], [0], [7]):
            topics = [
                raw.struct_of(
                    "DescribeLogDirs", "DescribableLogDirTopic", topic=c.topic, partitions=partitions
                )
            ]
            answer = c.quietly(raw.request_of("DescribeLogDirs", topics=topics), version)
            found = [
                [c.names[topic.name], sorted([p.partition_index, p.partition_size] for p in topic.partitions)]
                for directory in answer.results
                for topic in directory.topics
            ]
            c.notes.append([answer.error_code, [one.error_code for one in answer.results], found])
    topics = [
        raw.struct_of("DescribeLogDirs", "DescribableLogDirTopic", topic="nobody-at-all", partitions=[0])
    ]
    answer = c.quietly(raw.request_of("DescribeLogDirs", topics=topics), 4)
    c.notes.append([len(answer.results), [len(one.topics) for one in answer.results]])
