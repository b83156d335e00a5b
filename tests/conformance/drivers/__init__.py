"""One driver per client library, all with the same calls, so that every scenario is written once."""

from collections.abc import Callable
from pathlib import Path

from tests.conformance.drivers.base import Driver
from tests.conformance.drivers.build import BUILDERS, command_for


def _confluent(bootstrap: str, scratch: Path) -> Driver:
    from tests.conformance.drivers.confluent import ConfluentDriver

    return ConfluentDriver(bootstrap)


def _kafka_python(bootstrap: str, scratch: Path) -> Driver:
    from tests.conformance.drivers.kafka_python import KafkaPythonDriver

    return KafkaPythonDriver(bootstrap)


def _aiokafka(bootstrap: str, scratch: Path) -> Driver:
    from tests.conformance.drivers.aiokafka import AiokafkaDriver

    return AiokafkaDriver(bootstrap)


def _program(name: str) -> Callable[[str, Path], Driver]:
    def make(bootstrap: str, scratch: Path) -> Driver:
        from tests.conformance.drivers.program import ProgramDriver

        return ProgramDriver(name, command_for(name), bootstrap, scratch / f"{name}.stderr")

    return make


DRIVERS: dict[str, Callable[[str, Path], Driver]] = {
    "confluent": _confluent,
    "kafka-python": _kafka_python,
    "aiokafka": _aiokafka,
    **{name: _program(name) for name in BUILDERS},
}
