"""/metrics, /healthz and /readyz of a running broker, asked over a socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from odradek.app import Node
from odradek.client.admin import create_topic
from odradek.client.client import Client
from odradek.core.config.broker import broker_config
from odradek.core.errors import DamageError, StartupError

Ask = Callable[..., Awaitable[tuple[int, str]]]


async def ask(address: tuple[str, int], line: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"{line}\r\nHost: here\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]) if head else 0, body


def running(folder: Path, test: Callable[[Node], Awaitable[None]], **overrides: str) -> None:
    async def run() -> None:
        settings = {"log.dirs": str(folder), "listeners": "PLAINTEXT://127.0.0.1:0"}
        settings["odradek.metrics.listener"] = "127.0.0.1:0"
        node = await Node.start(broker_config(settings | overrides))
        try:
            await test(node)
        finally:
            await node.stop()

    asyncio.run(run())


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and label values, these in alphabetical order."""
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_that_dashboards_read(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.monitor is not None
        async with Client(node.bootstrap_servers) as client:
            await create_topic(client, "orders", partitions=2)
            status, text = await ask(node.monitor.address, "GET /metrics HTTP/1.1")
        assert status == 200
        found = samples(text)
        assert found["kafka_server_brokertopicmetrics_messagesin_total", ()] == 0
        assert found["kafka_server_brokertopicmetrics_bytesin_total", ("orders",)] == 0
        assert found["kafka_server_replicamanager_underreplicatedpartitions", ()] == 0
        assert found["kafka_server_replicamanager_partitioncount", ()] == 2
        assert found["kafka_controller_kafkacontroller_offlinepartitionscount", ()] == 0
        assert found["kafka_topic_partition_current_offset", ("1", "orders")] == 0
        assert found["kminion_kafka_topic_partition_high_water_mark", ("0", "orders")] == 0
        assert found["odradek_requests_total", ("CreateTopics",)] == 1
        assert found["kafka_network_requestmetrics_requests_total", ("CreateTopics",)] == 1
        assert found["odradek_ready", ()] == 1
        assert found["kafka_server_socket_server_metrics_connection_count", ("PLAINTEXT",)] >= 1
        assert found["odradek_flush_seconds_count", ()] >= 1

    running(tmp_path, test)


def test_lag_of_a_group(tmp_path: Path) -> None:
    from odradek.client.group_offsets import commit_offsets
    from odradek.core.ids import TopicPartition

    async def test(node: Node) -> None:
        assert node.monitor is not None
        async with Client(node.bootstrap_servers) as client:
            await create_topic(client, "orders", partitions=1)
            await commit_offsets(client, "readers", {TopicPartition("orders", 0): 0})
            _, text = await ask(node.monitor.address, "GET /metrics HTTP/1.1")
        found = samples(text)
        assert found["kafka_consumergroup_lag", ("0", "orders", "readers")] == 0
        assert found["kafka_consumergroup_lag_sum", ("orders", "readers")] == 0
        assert found["kminion_kafka_consumer_group_topic_lag", ("orders", "readers")] == 0
        assert found["kafka_consumergroup_members", ("readers",)] == 0
        assert found["odradek_groups", ("Empty",)] == 1

    running(tmp_path, test)


def test_the_switch_leaves_single_topics_out(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.monitor is not None
        async with Client(node.bootstrap_servers) as client:
            await create_topic(client, "orders", partitions=2)
        _, text = await ask(node.monitor.address, "GET /metrics HTTP/1.1")
        assert "orders" not in text
        assert samples(text)["kafka_server_brokertopicmetrics_messagesin_total", ()] == 0

    running(tmp_path, test, **{"odradek.metrics.detail": "broker"})


def test_ready_until_something_cannot_be_used(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.monitor is not None
        address = node.monitor.address
        assert await ask(address, "GET /healthz HTTP/1.1") == (200, '{"status": "ok"}\n')
        status, body = await ask(address, "GET /readyz?verbose HTTP/1.1")
        found = json.loads(body)
        assert (status, found["status"], found["problems"]) == (200, "ready", [])
        assert found["background"]["scrub"]["finished_ms"] == -1
        assert found["background"]["cleaner"]["max_dirty_ratio"] == 0
        async with Client(node.bootstrap_servers) as client:
            await create_topic(client, "orders", partitions=1)
        (log,) = node.server.broker.store.logs.values()
        log.go_offline(DamageError("x.log", 7, "bad"))
        status, body = await ask(address, "GET /readyz HTTP/1.1")
        assert status == 503
        assert "orders-0 is offline" in json.loads(body)["problems"][0]
        assert (await ask(address, "GET /healthz HTTP/1.1"))[0] == 200

    running(tmp_path, test)


def test_other_requests(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.monitor is not None
        address = node.monitor.address
        assert (await ask(address, "GET / HTTP/1.1"))[0] == 404
        assert (await ask(address, "POST /metrics HTTP/1.1"))[0] == 405
        assert await ask(address, "HEAD /healthz HTTP/1.1") == (200, "")
        assert (await ask(address, "nonsense"))[0] == 405
        assert (await ask(address, "GET /" + "x" * 40_000))[0] == 0

    running(tmp_path, test)


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.monitor is not None
        settings = {"log.dirs": str(tmp_path / "other"), "listeners": "PLAINTEXT://127.0.0.1:0"}
        settings["odradek.metrics.listener"] = f"127.0.0.1:{node.monitor.address[1]}"
        with pytest.raises(StartupError, match="--metrics HOST:PORT"):
            await Node.start(broker_config(settings))

    running(tmp_path / "data", test)
