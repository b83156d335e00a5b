"""The broker that the transaction checker works on: Odradek, or Apache Kafka, where it finds nothing."""

import os
from pathlib import Path

from tests.conformance.kafka_process import KafkaProcess
from tests.faults.transactions.episode import KillableBroker
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
}
"""A killed member's partitions are with another one after six seconds, as in the classic group."""


class KafkaBroker:
    """An Apache Kafka that can be killed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._process = KafkaProcess(folder, SETTINGS)
        self._process.format()

    @property
    def bootstrap(self) -> str:
        return self._process.bootstrap

    def start(self) -> "KafkaBroker":
        self._process.start()
        return self

    def kill(self) -> None:
        self._process.stop(cleanly=False)

    def log_tail(self) -> str:
        return ""


def started_broker(folder: Path) -> KillableBroker:
    """Starts the broker that ``ODRADEK_FAULTS_BROKER`` names (``odradek``, the default, or ``kafka``)."""
    if os.environ.get("ODRADEK_FAULTS_BROKER", "odradek") == "kafka":
        return KafkaBroker(folder / "kafka").start()
    folder.mkdir(parents=True, exist_ok=True)
    return BrokerProcess(folder / "data", SETTINGS).start()
