"""Metrics of the broker as a whole, under JMX exporter's names for Kafka, kminion's, and our own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from odradek import __version__
from odradek.broker.endpoints import advertised_endpoint
from odradek.broker.health import Health
from odradek.broker.requests import Session
from odradek.broker.traffic import Traffic
from odradek.server.metrics.family import Family, counter, gauge, histogram, single

if TYPE_CHECKING:
    from odradek.server.server import Server

_RUNNING = 3
"""``BrokerState.RUNNING`` of Kafka."""


def families(server: "Server", health: Health, traffic: Traffic) -> Iterator[Family]:
    """All of them."""
    yield from _kafka(server, health)
    yield from _identity(server, traffic.size)
    yield from _own(server, health)


def _kafka(server: "Server", health: Health) -> Iterator[Family]:
    broker = server.broker
    leaderless = health.partitions - health.online
    manager = "kafka_server_replicamanager_"
    yield single(manager + "leadercount", "Partitions led by this broker.", health.online)
    yield single(manager + "partitioncount", "Partitions of this broker.", health.partitions)
    yield single(manager + "offlinereplicacount", "Partitions that cannot be used.", len(health.offline))
    yield single(manager + "underreplicatedpartitions", "Partitions with replicas out of sync.", 0)
    yield single(manager + "underminisrpartitioncount", "Partitions with too few replicas in sync.", 0)
    yield single(manager + "atminisrpartitioncount", "Partitions that can lose no replica.", 0)
    controller = "kafka_controller_kafkacontroller_"
    yield single(controller + "activecontrollercount", "1: this broker is the controller.", 1)
    yield single(controller + "activebrokercount", "Brokers.", len(broker.image.brokers))
    yield single(controller + "globaltopiccount", "Topics.", len(broker.topics.by_name))
    yield single(controller + "globalpartitioncount", "Partitions.", health.partitions)
    yield single(controller + "offlinepartitionscount", "Partitions without a leader.", leaderless)
    yield single("kafka_server_kafkaserver_brokerstate", "3: running.", _RUNNING)
    asked = [(api.name, api.requests, api.failures) for api in broker.apis.values() if api.requests]
    yield counter(
        "kafka_network_requestmetrics_requests",
        "Requests by kind.",
        [((name,), requests) for name, requests, _ in asked],
        ["request"],
    )
    by_name = {name: (requests, failures) for name, requests, failures in asked}
    for kind in ("Produce", "Fetch"):
        requests, failures = by_name.get(kind, (0, 0))
        metrics = "kafka_server_brokertopicmetrics_"
        yield counter(f"{metrics}total{kind.lower()}requests", f"{kind} requests.", [((), requests)])
        yield counter(
            f"{metrics}failed{kind.lower()}requests",
            f"{kind} requests that failed as a whole.",
            [((), failures)],
        )
    yield gauge(
        "kafka_server_socket_server_metrics_connection_count",
        "Open connections.",
        [((listener,), count) for listener, count in server.connection_counts().items()],
        ["listener"],
    )


def _identity(server: "Server", size: int) -> Iterator[Family]:
    broker = server.broker
    config = broker.config
    listener = config.listeners[0]
    here = Session("", listener.host or "localhost", listener.port, listener.name)
    host, port = advertised_endpoint(config, here)
    rack = config.broker_rack or ""
    node = str(broker.node_id)
    yield single("kafka_brokers", "Brokers in the cluster.", len(broker.image.brokers))
    yield gauge(
        "kafka_broker_info", "A broker's address.", [((f"{host}:{port}", node), 1)], ["address", "id"]
    )
    yield gauge(
        "kminion_kafka_cluster_info",
        "The cluster.",
        [((str(len(broker.image.brokers)), broker.store.cluster_id, "v4.3", node), 1)],
        ["broker_count", "cluster_id", "cluster_version", "controller_id"],
    )
    labels = ["address", "broker_id", "port", "rack_id"]
    yield gauge(
        "kminion_kafka_broker_info",
        "A broker.",
        [((host, node, str(port), rack, "true"), 1)],
        [*labels, "is_controller"],
    )
    yield gauge(
        "kminion_kafka_broker_log_dir_size_total_bytes",
        "Bytes of all partitions.",
        [((host, node, str(port), rack), size)],
        labels,
    )


def _own(server: "Server", health: Health) -> Iterator[Family]:
    broker = server.broker
    yield gauge("odradek_build_info", "The version that runs.", [((__version__,), 1)], ["version"])
    yield single("odradek_ready", "1: /readyz says yes.", not health.problems)
    yield gauge(
        "odradek_partitions",
        "Partitions by state.",
        [
            (("online",), health.online),
            (("recovering",), health.recovery.partitions),
            (("offline",), len(health.offline)),
        ],
        ["state"],
    )
    recovery = health.recovery
    yield single("odradek_recovery_done_bytes", "What recovery has checked so far.", recovery.done)
    yield single("odradek_recovery_total_bytes", "What it has to check; 0 when it is over.", recovery.total)
    yield single("odradek_disk_total_bytes", "Size of the data folder's volume.", health.disk_total)
    yield single("odradek_disk_usable_bytes", "Room on the data folder's volume.", health.disk_usable)
    yield from _background(server)
    yield single("odradek_metadata_log_index", "Entries of the metadata log so far.", broker.image.index)
    apis = [api for api in broker.apis.values() if api.requests]
    yield counter(
        "odradek_requests", "Requests by API.", [((api.name,), api.requests) for api in apis], ["api"]
    )
    yield counter(
        "odradek_request_failures",
        "Requests refused as a whole, or failed.",
        [((api.name,), api.failures) for api in apis],
        ["api"],
    )
    yield counter(
        "odradek_connections_opened", "Connections since the start.", [((), server.limits.opened_count)]
    )
    yield counter(
        "odradek_connections_refused",
        "Connections that a limit kept out, by the limit.",
        [((reason,), count) for reason, count in server.limits.refused_counts.items()],
        ["limit"],
    )
    yield single(
        "odradek_request_bytes_in_flight",
        "Announced sizes of requests that have not arrived whole.",
        server.memory.reserved_bytes,
    )
    yield counter(
        "odradek_quota_throttle_seconds",
        "Time for which quotas told clients to wait.",
        [((), broker.quotas.throttled_ms / 1_000)],
    )
    yield histogram("odradek_flush_seconds", "Time that a flush to disk took.", server.flush_seconds)
    yield histogram(
        "odradek_event_loop_delay_seconds",
        "How late a timer of once a second came: how long others wait at most.",
        server.loop_delay_seconds,
    )


def _background(server: "Server") -> Iterator[Family]:
    """Scrub and compaction."""
    scrub, cleaner = server.broker.scrubber.progress, server.broker.cleaner
    yield single("odradek_scrub_done_bytes", "What the present pass of the scrub has checked.", scrub.done)
    yield single("odradek_scrub_total_bytes", "What it has to check; 0 between passes.", scrub.total)
    yield counter("odradek_scrub_passes", "Passes of the scrub since the start.", [((), scrub.passes)])
    yield counter("odradek_scrub_flaws", "What it has found since the start.", [((), scrub.flaws)])
    yield single(
        "odradek_scrub_last_finished_timestamp_seconds",
        "When a pass of the scrub ended last, before the start or since; 0 never.",
        max(scrub.finished_ms, 0) / 1_000,
    )
    yield single(
        "odradek_cleaner_max_dirty_ratio",
        "Dirty part of the dirtiest compacted log, as of the last look.",
        cleaner.dirtiest_ratio,
    )
    yield single(
        "odradek_cleaner_uncleanable_logs", "Logs not compacted for damage.", len(cleaner.uncleanable)
    )
    yield single(
        "odradek_cleaner_urgency",
        "How far compaction is behind: from 1 on it works all of its time.",
        cleaner.urgency,
    )
    yield single("odradek_cleaner_running", "Passes of compaction under way.", len(cleaner.passes))
    yield counter("odradek_cleaner_passes", "Passes of compaction.", [((), cleaner.passes_done)])
    yield counter("odradek_cleaner_read_bytes", "What they read.", [((), cleaner.bytes_read)])
    yield single(
        "odradek_cleaner_last_run_timestamp_seconds",
        "When a pass ended last; 0 when none did since the start.",
        max(cleaner.last_done_ms, 0) / 1_000,
    )
