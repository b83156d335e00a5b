"""Apache Kafka's own console tools and Java clients, unmodified and with their default settings."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.conformance.java_tools import Tools, rows, run_program

pytestmark = [pytest.mark.java, pytest.mark.slow]

TOOLS = "org.apache.kafka.tools"
TOPICS = f"{TOOLS}.TopicCommand"
GROUPS = f"{TOOLS}.consumer.group.ConsumerGroupCommand"
PRODUCER = f"{TOOLS}.ConsoleProducer"
CONSUMER = f"{TOOLS}.consumer.ConsoleConsumer"
OFFSETS = f"{TOOLS}.GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"


RESULTS = """
create.dry=none
create.partitions=4
create.replication=1
create.retention=-1
create.again=TopicExistsException
create.replicas=InvalidReplicationFactorException
create.config=InvalidConfigurationException
create.name=InvalidTopicException
produce.none=[75, 75, 75, 75]
produce.gzip=[75, 75, 75, 75]
produce.snappy=[75, 75, 75, 75]
produce.lz4=[75, 75, 75, 75]
produce.zstd=[75, 75, 75, 75]
alone.values=1500
alone.intact=true
alone.ordered=true
alone.ends=[375]
alone.seek=80 gzip20
alone.time=11 1700000000044
alone.late=null
group.alone=4
group.shared=4
group.state=Stable 2
group.delete=GroupNotEmptyException
group.values=1500
group.repeated=0
group.committed=[375]
cluster.nodes=1
cluster.controller=true
cluster.id=22
topic.by_id=true
topic.listed=true
topic.unknown=UnknownTopicOrPartitionException
topic.unknown_id=UnknownTopicIdException
topic.fewer=InvalidPartitionsException
config.changed=2000000 DYNAMIC_TOPIC_CONFIG
offsets.earliest=0
offsets.latest=375
offsets.time=1
offsets.newest=74
records.low=100
records.earliest=100
records.beyond=OffsetOutOfRangeException
records.size=true
groups.listed=[Classic consumer Empty]
groups.altered=why
groups.forgotten=none
groups.deleted=none
groups.unknown=GroupIdNotFoundException
topic.deleted=none
topic.left=false
"""
"""What ``Clients.java`` prints."""


def test_topics(tools: Tools, name: str) -> None:
    create = (TOPICS, "--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=99999999")
    assert tools(*create) == f"Created topic {name}."
    assert f"Topic '{name}' already exists" in tools(*create, code=1)
    alter = (TOPICS, "--alter", "--topic", name, "--partitions")
    assert tools(*alter, "3") == ""
    assert "would not be an increase" in tools(*alter, "2", code=1)
    described, listed = tools.together((TOPICS, "--describe", "--topic", name), (TOPICS, "--list"))
    first, *partitions = described.splitlines()
    assert re.search(r"TopicId: [\w-]{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: ", first)
    assert "retention.ms=99999999" in first
    assert [line.split()[3:10] for line in partitions] == [
        [str(number), "Leader:", "1", "Replicas:", "1", "Isr:", "1"] for number in range(3)
    ]
    assert name in listed.splitlines()
    assert tools(TOPICS, "--delete", "--topic", name) == ""
    assert f"Topic '{name}' does not exist" in tools(TOPICS, "--describe", "--topic", name, code=1)


def test_a_group_from_the_console(tools: Tools, name: str) -> None:
    """Produced with keys and headers, consumed as a group whose offsets are then looked at and moved."""
    keyed = ("--reader-property", "parse.key=true", "--reader-property", "parse.headers=true")
    tools(PRODUCER, "--topic", name, *keyed, stdin="h:1,i:2\tk\tone\nh:\tl\ttwo\nh:3\tk\tthree\n")
    prints = [f"print.{what}=true" for what in ("key", "headers", "partition", "offset")]
    properties = [word for one in prints for word in ("--formatter-property", one)]
    how = ("--topic", name, "--group", name, "--from-beginning", "--max-messages", "3", *properties)
    output = tools(CONSUMER, *how).splitlines()
    assert [line.split("\t") for line in output if line.startswith("Partition")] == [
        ["Partition:0", "Offset:0", "h:1,i:2", "k", "one"],
        ["Partition:0", "Offset:1", "h:", "l", "two"],
        ["Partition:0", "Offset:2", "h:3", "k", "three"],
    ]

    group = (GROUPS, "--group", name)
    reset = (*group, "--topic", name, "--reset-offsets")
    listed, described, state, planned = tools.together(
        (GROUPS, "--list", "--state"),
        (*group, "--describe"),
        (*group, "--describe", "--state"),
        (*reset, "--to-earliest", "--dry-run"),
    )
    assert [name, "Empty"] in rows(listed, 2)
    assert "has no active members" in described
    assert rows(described, 6) == [[name, name, "0", "3", "3", "0"]]
    assert rows(state, 8)[0][1:] == [tools.bootstrap, "(1)", "-", "Empty", "0"]
    assert rows(planned, 4) == [[name, name, "0", "0"]]
    assert rows(tools(*reset, "--shift-by", "-2", "--execute"), 4) == [[name, name, "0", "1"]]
    assert rows(tools(*group, "--describe"), 6) == [[name, name, "0", "1", "3", "2"]]
    assert rows(tools(*group, "--delete-offsets", "--topic", name), 3) == [[name, "0", "Successful"]]
    assert f"Deletion of requested consumer groups ('{name}') was successful" in tools(*group, "--delete")
    assert "does not exist" in tools(*group, "--delete")


def test_configs(tools: Tools, name: str) -> None:
    tools(TOPICS, "--create", "--topic", name)
    topic = (CONFIGS, "--entity-type", "topics", "--entity-name", name)
    broker = (CONFIGS, "--entity-type", "brokers", "--entity-name", "1")
    assert tools.together(
        (*topic, "--alter", "--add-config", "max.message.bytes=2000000"),
        (*broker, "--alter", "--add-config", "log.cleaner.threads=2"),
    ) == [f"Completed updating config for topic {name}.", "Completed updating config for broker 1."]
    of_topic, of_broker = tools.together((*topic, "--describe"), (*broker, "--describe"))
    assert of_topic.splitlines() == [
        f"Dynamic configs for topic {name} are:",
        "  max.message.bytes=2000000 sensitive=false synonyms={"
        "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000, DEFAULT_CONFIG:message.max.bytes=1048588}",
    ]
    assert (
        "  log.cleaner.threads=2 sensitive=false synonyms={"
        "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1}"
    ) in of_broker.splitlines()
    tools.together(
        (*topic, "--alter", "--delete-config", "max.message.bytes"),
        (*broker, "--alter", "--delete-config", "log.cleaner.threads"),
    )
    of_topic, of_broker = tools.together((*topic, "--describe", "--all"), (*broker, "--describe", "--all"))
    assert "  max.message.bytes=1048588 sensitive=false" in of_topic
    assert "  log.cleaner.threads=1 sensitive=false" in of_broker
    refused = tools(*topic, "--alter", "--add-config", "max.message.bytes=many", code=1)
    assert "InvalidConfigurationException" in refused


def test_offsets_and_log_dirs(tools: Tools, name: str, tmp_path: Path) -> None:
    before_ms = int(time.time() * 1000)
    tools(PRODUCER, "--topic", name, stdin="one\ntwo\nthree\nfour\n")
    asked = (OFFSETS, "--topic", name, "--time")
    assert tools.together(
        (OFFSETS, "--topic", name),
        (*asked, "earliest"),
        (*asked, str(before_ms)),
        (*asked, str(before_ms + 3_600_000)),
    ) == [f"{name}:0:4", f"{name}:0:0", f"{name}:0:0", ""]

    wanted = tmp_path / "delete.json"
    wanted.write_text(
        json.dumps({"version": 1, "partitions": [{"topic": name, "partition": 0, "offset": 3}]})
    )
    deleted = tools(f"{TOOLS}.DeleteRecordsCommand", "--offset-json-file", str(wanted))
    assert f"partition: {name}-0\tlow_watermark: 3" in deleted
    earliest, folders = tools.together(
        (*asked, "earliest"), (f"{TOOLS}.LogDirsCommand", "--describe", "--topic-list", name)
    )
    assert earliest == f"{name}:0:3"
    (described,) = json.loads(folders.splitlines()[-1])["brokers"]
    (folder,) = described["logDirs"]
    (partition,) = folder["partitions"]
    assert (described["broker"], folder["error"]) == (1, None)
    assert partition["partition"] == f"{name}-0"
    assert partition["size"] > 0
    assert (partition["offsetLag"], partition["isFuture"]) == (0, False)


def test_the_cluster(tools: Tools) -> None:
    versions, cluster = tools.together(
        (f"{TOOLS}.BrokerApiVersionsCommand",), (f"{TOOLS}.ClusterTool", "cluster-id")
    )
    assert re.fullmatch(r"Cluster ID: [\w-]{22}", cluster)
    assert versions.startswith(f"{tools.bootstrap} (id: 1 rack: null isFenced: false) -> (")
    for api in ("Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]"):
        assert api in versions


def test_java_clients(tools: Tools, name: str) -> None:
    """Producer, consumer and admin client; each of the expected results is what Apache Kafka 4.3 gave."""
    assert run_program("Clients", tools.bootstrap, name) == RESULTS.strip().splitlines()
