"""Apache Kafka's console tools about transactions, features, and groups with members of both protocols."""

import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance.java_tools import Tools, java, rows
from tests.conformance.kafka_process import classpath

pytestmark = [pytest.mark.java, pytest.mark.slow]

TOOLS = "org.apache.kafka.tools"
GROUPS = f"{TOOLS}.consumer.group.ConsumerGroupCommand"
FEATURES = f"{TOOLS}.FeatureCommand"
TRANSACTIONS = f"{TOOLS}.TransactionsCommand"
TRANSACTION_TIMEOUT_MS = 600_000
"""It stays open while one Java after another has a look at it."""


@pytest.fixture
def open_transaction(tools: Tools, name: str) -> Producer:
    """One that has written to partition 0 of the topic ``name``, under that transactional id."""
    admin = AdminClient({"bootstrap.servers": tools.bootstrap})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(60)
    producer = Producer(
        {
            "bootstrap.servers": tools.bootstrap,
            "transactional.id": name,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(name, b"open", partition=0)
    producer.flush(60)
    return producer


@pytest.fixture
def mixed_group(tools: Tools, name: str, open_transaction: Producer) -> Iterator[None]:
    """A member of each protocol in the group ``name``, one partition each; kept alive meanwhile."""
    settings = {"bootstrap.servers": tools.bootstrap, "group.id": name, "auto.offset.reset": "earliest"}
    old = Consumer({**settings, "client.id": "old"})
    new = Consumer({**settings, "client.id": "new", "group.protocol": "consumer"})
    old.subscribe([name])
    deadline = time.monotonic() + 90
    while len(old.assignment()) < 2:
        old.poll(0.1)
        assert time.monotonic() < deadline
    new.subscribe([name])
    stopping = threading.Event()

    def live() -> None:
        while not stopping.is_set():
            old.poll(0.05)
            new.poll(0.05)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    while (len(old.assignment()), len(new.assignment())) != (1, 1):
        time.sleep(0.1)
        assert time.monotonic() < deadline
    yield
    stopping.set()
    thread.join()
    old.close()
    new.close()


def test_a_group_with_members_of_both_protocols(tools: Tools, name: str, mixed_group: None) -> None:
    group = (GROUPS, "--describe", "--group", name)
    offsets, state, members = tools.together(group, (*group, "--state"), (*group, "--members", "--verbose"))
    assert [[row[0], row[1], row[2], row[-1]] for row in rows(offsets, 9)] == [
        [name, name, "0", "old"],
        [name, name, "1", "new"],
    ]
    assert rows(state, 6)[0][1:] == [tools.bootstrap, "(1)", "uniform", "Stable", "2"]
    described = {row[3]: row[4:] for row in rows(members, 10)}
    assert {client: (row[0], row[2], row[-1]) for client, row in described.items()} == {
        "old": ("1", f"{name}:0", "false"),
        "new": ("1", f"{name}:1", "true"),
    }
    assert all(row[1] == row[3] for row in described.values()), "current and target epoch"


def run(tools: Tools, tool: str, *arguments: str) -> list[list[str]]:
    """The lines of tools that want to know where the broker is before they hear what to do."""
    done = java(classpath(), tool, "--bootstrap-server", tools.bootstrap, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_transactions_and_features(tools: Tools, name: str, open_transaction: Producer) -> None:
    of = ("--transactional-id", name)
    _, *listed = run(tools, TRANSACTIONS, "list")
    assert [row[3] for row in listed if row[0] == name] == ["Ongoing"]
    _, row = run(tools, TRANSACTIONS, "describe", *of)
    assert (row[1], row[3], row[4], row[5], row[8]) == (
        name,
        "0",
        "Ongoing",
        str(TRANSACTION_TIMEOUT_MS),
        f"{name}-0",
    )
    _, row = run(tools, TRANSACTIONS, "describe-producers", "--topic", name, "--partition", "0")
    assert (row[1], row[3], row[5]) == ("0", "0", "0")
    _, *hanging = run(tools, TRANSACTIONS, "find-hanging", "--broker-id", "1")
    assert [row for row in hanging if row[0] == name] == []
    levels = {row[1]: row[7] for row in run(tools, FEATURES, "describe")}
    assert (levels["group.version"], levels["transaction.version"]) == ("1", "2")
    (done,) = run(tools, FEATURES, "upgrade", "--feature", "transaction.version=2")
    assert " ".join(done) == "transaction.version was upgraded to 2."
    all_of_kafka = ("--bootstrap-server", tools.bootstrap, "upgrade", "--release-version", "4.3")
    refused = java(classpath(), FEATURES, *all_of_kafka)
    assert refused.returncode == 1
    assert "no feature was changed" in refused.stdout + refused.stderr
    open_transaction.abort_transaction(60)
    _, row = run(tools, TRANSACTIONS, "describe", *of)
    assert row[4] in ("PrepareAbort", "CompleteAbort")
