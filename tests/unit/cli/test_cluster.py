"""``odradek cluster``."""

import pytest

from odradek.cli.cluster import problems, size
from odradek.client.client import BrokerInfo, ClusterInfo
from odradek.client.cluster import BrokerHealth, ClusterHealth, LogDir
from odradek.core.errors import DamageError
from odradek.core.ids import TopicPartition
from odradek.testing import Broker
from tests.support.ports import ReservedPort
from tests.unit.cli.conftest import Run


def test_info(run: Run, odradek_topic: str) -> None:
    found = run("cluster", "info", "-o", "json").json
    assert found["controller"] == 1
    assert found["partitions"] >= 1
    (broker,) = found["brokers"]
    assert (broker["id"], broker["host"], broker["error"]) == (1, "127.0.0.1", None)
    assert broker["log_dirs"][0]["usable"] > 0
    assert "controller" in run("cluster", "info").out


def test_healthy(run: Run, odradek_topic: str) -> None:
    found = run("cluster", "health", "-o", "json").json
    assert found["healthy"] is True
    assert (found["problems"], found["offline"], found["recovering"]) == ([], [], [])
    assert "All is well." in run("cluster", "health").err
    run("cluster", "health", "--watch", "--exit-when-healthy", "--timeout", 60)


def test_offline_partitions_are_named_and_counted(run_offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker() as broker:
        monkeypatch.setenv("ODRADEK_BOOTSTRAP", broker.bootstrap_servers)
        broker.create_topic("bad", partitions=2)
        assert broker._running is not None
        store = broker._running.node.server.broker.store
        store.logs[TopicPartition("bad", 1)].go_offline(DamageError("x.log", 3, "wrong CRC"))
        found = run_offline("cluster", "health", "-o", "json", code=3).json
        assert found["offline"] == [{"topic": "bad", "partition": 1}]
        assert found["problems"] == ["1 of 2 partitions offline (the broker's log says why): bad-1"]
        message = run_offline("cluster", "health", "--exit-when-healthy", "--timeout", 1.5, code=3).err
        assert "bad-1" in message
        assert "not healthy after 1.5 s" in message


def test_scrub_and_compaction_are_told_where_metrics_are_served(
    run_offline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ReservedPort()
    listener = f"127.0.0.1:{port.number}"
    with Broker(config={"odradek.metrics.listener": listener}) as broker:
        monkeypatch.setenv("ODRADEK_BOOTSTRAP", broker.bootstrap_servers)
        shown = run_offline("cluster", "health").out
        assert "last pass ended never" in shown
        assert "compaction of broker 1" in shown
        (told,) = run_offline("cluster", "health", "-o", "json").json["brokers"]
        assert told["background"]["cleaner"]["uncleanable"] == {}
        assert told["log_dirs"][0]["headroom"] > 0


def test_a_broker_that_is_not_there_is_waited_for_while_watching(
    run_offline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODRADEK_BOOTSTRAP", "127.0.0.1:1")
    run_offline("cluster", "health", code=1)
    assert (
        "127.0.0.1:1" in run_offline("cluster", "health", "--exit-when-healthy", "--timeout", 1.5, code=3).err
    )


def test_every_kind_of_problem() -> None:
    one, two = BrokerInfo(1, "a", 9092, None), BrokerInfo(2, "b", 9092, None)
    folders = [
        LogDir("/full", 1000, 10, None, {}, 50),
        LogDir("/tight", 1000, 60, None, {}, 50),
        LogDir("/roomy", 1000, 100, None, {}, 50),
        LogDir("/broken", 1000, 900, "KAFKA_STORAGE_ERROR", {}),
        LogDir("/old", -1, -1, None, {}),
    ]
    background = {"cleaner": {"uncleanable": {"c-0": "x.log at byte 3: bad"}}}
    many = [TopicPartition("t", number) for number in range(7)]
    health = ClusterHealth(
        ClusterInfo("c", -1, {1: one, 2: two}, {}),
        [BrokerHealth(one, folders, None, background), BrokerHealth(two, [], "cannot be reached")],
        20,
        many,
        many[:1],
        many[:2],
    )
    assert problems(health) == [
        "broker 2: cannot be reached",
        "there is no controller: nothing can be changed",
        "broker 1: /full is full: 10 B of 1000 B left, producers do not get the last 50 B",
        "broker 1: /tight is nearly full: 60 B of 1000 B left, producers do not get the last 50 B",
        "broker 1: /broken cannot be used: KAFKA_STORAGE_ERROR",
        "c-0 is compacted no more: x.log at byte 3: bad",
        "7 of 20 partitions offline (the broker's log says why): t-0, t-1, t-2, t-3, t-4 and 2 more",
        "1 of 20 partitions being recovered: t-0",
        "2 of 20 partitions short of replicas: t-0, t-1",
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
