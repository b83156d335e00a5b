"""The in-process broker, met by the client that it does not share its loop with."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from odradek.client.client import Client
from odradek.client.producer import Producer
from odradek.core.errors import ApiError, ErrorCode, StartupError
from odradek.testing import Broker, Record


def produce(broker: Broker, topic: str, *values: bytes) -> None:
    async def work() -> None:
        async with Client(broker.bootstrap_servers) as client:
            producer = Producer(client, topic)
            await producer.start()
            for value in values:
                await producer.send(value, b"k", (("h", b"x"),), timestamp=1_700_000_000_000)
            await producer.flush()

    asyncio.run(work())


def create_and_produce(broker: Broker) -> None:
    broker.create_topic("t")
    produce(broker, "t", b"a")


def folder_of(broker: Broker) -> Path:
    assert broker._folder is not None
    return Path(broker._folder.name)


def test_records_come_back_as_they_were_sent() -> None:
    with Broker() as broker:
        broker.create_topic("t", partitions=3)
        assert broker.records("t") == []
        produce(broker, "t", b"a", b"b")
        first, second = broker.records("t")
        assert first == Record("t", first.partition, 0, 1_700_000_000_000, b"k", b"a", (("h", b"x"),))
        assert (second.offset, second.value) == (1, b"b")


def test_configs_of_broker_and_topic_are_taken() -> None:
    with Broker(partitions=2, config={"auto.create.topics.enable": False}) as broker:
        broker.create_topic("t", config={"max.message.bytes": 100})
        with pytest.raises(ApiError) as caught:
            produce(broker, "t", b"x" * 200)
        assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
        with pytest.raises(ApiError):
            broker.records("other")


def test_a_mistake_in_the_configuration_is_raised_and_leaves_nothing_behind() -> None:
    broker = Broker(config={"num.partitionz": 1})
    with pytest.raises(StartupError, match=r"num\.partitions"):
        broker.start()
    assert not broker.is_running
    folder = folder_of(broker)
    broker.stop()
    assert not folder.exists()


def test_waiting_ends_with_enough_records_or_says_how_many_there_were() -> None:
    with Broker() as broker:
        broker.create_topic("t")
        produce(broker, "t", b"a")
        later = threading.Thread(target=produce, args=(broker, "t", b"b"))
        later.start()
        assert [record.value for record in broker.wait_for("t", 2)] == [b"a", b"b"]
        later.join()
        with pytest.raises(TimeoutError, match="has 2 of 3 records"):
            broker.wait_for("t", 3, timeout=1.0)


def test_waiting_waits_for_the_topic_too() -> None:
    with Broker(config={"auto.create.topics.enable": False}) as broker:
        later = threading.Thread(target=create_and_produce, args=(broker,))
        later.start()
        assert len(broker.wait_for("t", 1)) == 1
        later.join()


def test_a_restart_keeps_port_topics_and_records() -> None:
    with Broker() as broker:
        broker.create_topic("t")
        produce(broker, "t", b"a")
        address = broker.bootstrap_servers
        broker.restart()
        assert broker.bootstrap_servers == address
        assert [record.value for record in broker.records("t")] == [b"a"]


def test_a_killed_broker_drops_connections_and_comes_back() -> None:
    with Broker() as broker:
        broker.create_topic("t")
        produce(broker, "t", b"a")
        host, port = broker.bootstrap_servers.split(":")
        with socket.create_connection((host, int(port))) as connection:
            broker.kill()
            assert not broker.is_running
            connection.settimeout(2)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        with pytest.raises(RuntimeError, match="does not run"):
            broker.records("t")
        broker.restart()
        assert [record.value for record in broker.records("t")] == [b"a"]


def test_stopping_removes_the_data_and_can_be_done_twice() -> None:
    broker = Broker().start()
    folder = folder_of(broker)
    assert folder.is_dir()
    with pytest.raises(RuntimeError, match="runs already"):
        broker.start()
    broker.stop()
    broker.stop()
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = broker.bootstrap_servers


def test_nothing_of_a_broker_is_left_when_it_has_stopped() -> None:
    with Broker() as broker:
        broker.create_topic("t")
    threads, files = set(threading.enumerate()), _open_files()
    with Broker() as broker:
        broker.create_topic("t")
        produce(broker, "t", b"a")
    # What other tests have left may go in between, but nothing may come.
    assert set(threading.enumerate()) <= threads
    assert _open_files() <= files


def _open_files() -> set[tuple[str, str]]:
    """Descriptors of this process, and what they are open on."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def test_several_brokers_live_side_by_side() -> None:
    with Broker() as one, Broker() as other:
        one.create_topic("t")
        produce(one, "t", b"a")
        other.create_topic("t")
        assert other.records("t") == []


def test_stopping_is_quick() -> None:
    took_s: list[float] = []
    while min(took_s, default=1.0) >= 0.5 and len(took_s) < 5:  # others use the machine, too
        with Broker() as broker:
            broker.create_topic("t")
            produce(broker, "t", b"a")
            started_s = time.monotonic()
        took_s.append(time.monotonic() - started_s)
    assert min(took_s) < 0.5, "50 ms on a quiet machine; this only catches waiting"
