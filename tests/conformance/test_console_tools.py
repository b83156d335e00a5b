"""Apache Kafka's own console tools and Java clients, unmodified and with their default settings."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from odradek.core.ids import TopicPartition
from tests.conformance.kafka_process import HEAP, classpath

pytestmark = [pytest.mark.java, pytest.mark.slow]

CLIENTS = Path(__file__).parent / "java" / "Clients.java"
TOOLS = "org.apache.kafka.tools"
TOPICS = f"{TOOLS}.TopicCommand"
GROUPS = f"{TOOLS}.consumer.group.ConsumerGroupCommand"
PRODUCER = f"{TOOLS}.ConsoleProducer"
CONSUMER = f"{TOOLS}.consumer.ConsoleConsumer"
OFFSETS = f"{TOOLS}.GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"


class Tools:
    """Runs tools against one broker."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def __call__(self, tool: str, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """What ``tool`` says on its outputs, a line each; fails the test when it does not end with ``code``."""
        arguments = (*arguments, "--bootstrap-server", self._bootstrap)
        done = java(classpath(), tool, *arguments, stdin=stdin)
        assert done.returncode == code, f"{tool} {arguments}:\n{done.stdout}{done.stderr}"
        lines = (done.stdout + done.stderr).splitlines()
        return "\n".join(line.rstrip() for line in lines if line and not line.startswith("SLF4J"))

    def together(self, *runs: tuple[str, ...]) -> list[str]:
        """What each of these runs says; their start-up time is shared."""
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda run: self(*run), runs))


def java(path: str, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = ["java", HEAP, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)


def columns(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


@pytest.fixture
def tools(bootstrap: str) -> Tools:
    classpath()
    return Tools(bootstrap)


@pytest.fixture
def filled(tools: Tools, name: str) -> TopicPartition:
    """The only partition of a topic with four records."""
    tools(PRODUCER, "--topic", name, stdin="one\ntwo\nthree\nfour\n")
    return TopicPartition(name, 0)


def test_topics(tools: Tools, name: str) -> None:
    create = ("--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=99999999")
    assert tools(TOPICS, *create) == f"Created topic {name}."
    again, forgiven, replicas, fewer, more = tools.together(
        (TOPICS, *create),
        (TOPICS, *create, "--if-not-exists"),
    )
