"""``odradek txn`` against a broker of answers, which can have hanging transactions, and a real one."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from odradek.client.client import Client
from odradek.client.producer import Producer
from odradek.client.transaction import Transaction
from odradek.core.ids import TopicPartition
from odradek.testing import Broker
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakeBroker
from tests.unit.client.fake_transactions import FakeTransactions

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTransactions]:
    """Topic ``t`` with two partitions; its broker runs in a thread, as a command has a loop of its own."""
    transactions = FakeTransactions()
    started, ended = threading.Event(), threading.Event()
    addresses: list[str] = []

    async def serve() -> None:
        async with FakeBroker({"t": 2}, transactions.answers) as broker:
            addresses.append(broker.address)
            started.set()
            await asyncio.get_running_loop().run_in_executor(None, ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    monkeypatch.setenv("ODRADEK_BOOTSTRAP", addresses[0])
    yield transactions
    ended.set()
    thread.join()


def test_nothing_there(run_offline: Run, fake: FakeTransactions) -> None:
    assert "No transactional producer" in run_offline("txn", "list").err
    assert "No transaction is like that" in run_offline("txn", "ls", "-s", "ongoing").err
    assert "No transaction hangs" in run_offline("txn", "find-hanging").err
    assert "odradek txn list" in run_offline("txn", "describe", "nobody", code=3).err
    assert "no RE2 expression" in run_offline("txn", "list", "-r", "(", code=1).err


def test_list_and_describe(run_offline: Run, fake: FakeTransactions) -> None:
    fake.add("shop", 7, "Ongoing", T1, T0)
    fake.add("idle", 8, "Empty")
    assert run_offline("txn", "list", "-o", "json").json == [
        {"transactional_id": "idle", "state": "Empty", "producer_id": 8, "coordinator": 1},
        {"transactional_id": "shop", "state": "Ongoing", "producer_id": 7, "coordinator": 1},
    ]
    shop, idle = run_offline("txn", "describe", "shop", "idle", "-o", "json").json
    assert abs(shop.pop("open_seconds") + 1 - time.time()) < 60
    assert shop == {
        "transactional_id": "shop",
        "state": "Ongoing",
        "producer_id": 7,
        "producer_epoch": 0,
        "timeout_ms": 60_000,
        "started": 1_000,
        "coordinator": 1,
        "partitions": [{"topic": "t", "partition": 0}, {"topic": "t", "partition": 1}],
    }
    assert (idle["started"], idle["open_seconds"]) == (None, None)
    assert "t-0 t-1" in run_offline("txn", "describe", "shop").out


def test_filters_reach_the_broker(run_offline: Run, fake: FakeTransactions) -> None:
    run_offline("txn", "list", "-s", "ongoing", "--running-for", "15m", "-r", "shop-.*")
    request = fake.requests[-1]
    assert (request.state_filters, request.duration_filter) == (["Ongoing"], 900_000)
    assert request.transactional_id_pattern == "shop-.*"


def test_abort_by_id(run_offline: Run, fake: FakeTransactions) -> None:
    fake.add("shop", 7, "Ongoing", T0)
    done = run_offline("txn", "abort", "shop", "-y", "-o", "json").json
    assert done == {"transactional_id": "shop", "producer_id": 7, "producer_epoch": 1, "aborted": True}
    assert fake.requests[-1].transaction_timeout_ms == 60_000, "the id keeps its timeout"


def test_only_what_is_open_is_aborted(run_offline: Run, fake: FakeTransactions) -> None:
    fake.add("shop", 7, "CompleteCommit")
    assert "it is CompleteCommit" in run_offline("txn", "abort", "shop", code=1).err
    run_offline("txn", "abort", "nobody", code=3)
    assert not any(hasattr(request, "transaction_timeout_ms") for request in fake.requests)


def test_a_hanging_transaction_is_found_and_aborted(run_offline: Run, fake: FakeTransactions) -> None:
    fake.write(T1, 7, start_offset=5)
    found = run_offline("txn", "find-hanging", "-o", "json").json
    assert found[0].pop("idle_seconds") > 3600
    assert found == [
        {
            "topic": "t",
            "partition": 1,
            "start_offset": 5,
            "producer_id": 7,
            "producer_epoch": 0,
            "coordinator_epoch": -1,
            "last_timestamp": 1_000,
            "transactional_id": None,
        }
    ]
    assert run_offline("txn", "find-hanging", "-t", "t:0", "-o", "json").json == []
    (line,) = run_offline("txn", "find-hanging").err.splitlines()
    assert line == "odradek txn abort --partition t:1 --start-offset 5"
    done = run_offline(*line.split()[1:], "-o", "json").json
    assert (done["aborted"], done["producer_id"]) == (True, 7)
    assert run_offline("txn", "find-hanging", "-o", "json").json == []


def test_an_abort_names_one_transaction(run_offline: Run, fake: FakeTransactions) -> None:
    fake.write(T1, 7, start_offset=5)
    for arguments in (
        [],
        ["shop", "-p", "t:1", "--start-offset", "5"],
        ["-p", "t:1"],
        ["--start-offset", "5"],
        ["shop", "--start-offset", "5"],
        ["-p", "t", "--start-offset", "5"],
    ):
        run_offline("txn", "abort", *arguments, code=2)
    wrong = run_offline("txn", "abort", "-p", "t:1", "--start-offset", "6", code=3).err
    assert "no open transaction begins at offset 6 of t-1" in wrong
    assert "begin at: 5" in wrong


def test_producers(run_offline: Run, fake: FakeTransactions) -> None:
    assert "No producer" in run_offline("txn", "producers", "t").err
    fake.write(T1, 7, start_offset=5)
    (found,) = run_offline("txn", "producers", "t", "-o", "json").json
    assert found == {
        "topic": "t",
        "partition": 1,
        "producer_id": 7,
        "producer_epoch": 0,
        "last_sequence": 0,
        "last_timestamp": 1_000,
        "coordinator_epoch": -1,
        "start_offset": 5,
    }


@pytest.fixture
def open_transaction(odradek_broker: Broker, odradek_topic: str) -> str:
    """The id of a transaction with one record, whose producer is gone without ending it."""

    async def leave() -> None:
        async with Client(odradek_broker.bootstrap_servers) as client:
            transaction = Transaction(client, f"{odradek_topic}-id", 60_000)
            producer = Producer(client, odradek_topic, transaction=transaction)
            await producer.start()
            await producer.send(b"undecided")
            await producer.flush()

    asyncio.run(leave())
    return f"{odradek_topic}-id"


def test_an_open_transaction_from_end_to_end(run: Run, odradek_topic: str, open_transaction: str) -> None:
    name = open_transaction
    listed = run("txn", "list", "-s", "ongoing", "-r", f"{odradek_topic}.*", "-o", "json").json
    assert [one["transactional_id"] for one in listed] == [name]
    (described,) = run("txn", "describe", name, "-o", "json").json
    assert described["partitions"] == [{"topic": odradek_topic, "partition": 0}]
    (producer,) = run("txn", "producers", odradek_topic, "-o", "json").json
    assert (producer["producer_id"], producer["start_offset"]) == (described["producer_id"], 0)
    hanging = run("txn", "find-hanging", "-t", odradek_topic, "--older-than", "0ms", "-o", "json").json
    assert hanging == [], "its coordinator knows of it"

    run("produce", odradek_topic, stdin=b"behind\n")
    group = f"{odradek_topic}-g"
    run("group", "reset", group, "-t", odradek_topic, "--to", "start", "-y")
    (all_,) = run("group", "describe", group, "-o", "json").json
    assert (all_["lag"], all_["offsets"][0]["last_stable"], all_["offsets"][0]["end"]) == (2, 0, 2)
    (stable,) = run("group", "describe", group, "--isolation", "read_committed", "-o", "json").json
    assert (stable["lag"], stable["lag_seconds"]) == (0, 0)
    assert "STABLE" in run("group", "describe", group).out
    assert run("consume", odradek_topic, "-e").out == "undecided\nbehind\n"
    assert run("consume", odradek_topic, "-e", "--isolation", "read_committed").out == ""

    assert run("txn", "abort", name, "-y", "-o", "json").json["aborted"]
    assert run("consume", odradek_topic, "-e", "--isolation", "read_committed").out == "behind\n"
    seen = run("consume", odradek_topic, "-g", group, "-e", "--isolation", "read_committed").out
    assert seen == "behind\n"
    (described,) = run("group", "describe", group, "-o", "json").json
    assert described["lag"] == 0, "the abort marker behind the last record is passed, too"
    assert "no open transaction" in run("txn", "abort", name, code=1).err
