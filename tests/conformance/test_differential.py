"""The same conversations with a living Apache Kafka: ``kafka_answers.json`` is still what it answers."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from odradek.core.errors import ErrorCode
from tests.conformance import cases, raw
from tests.conformance.kafka_process import KafkaProcess
from tests.conformance.test_raw_protocol import differences

pytestmark = [pytest.mark.java, pytest.mark.slow]
RESTLESS = {"a_member_that_is_silent_is_put_out", "a_transaction_runs_out_of_time"}
"""Cases that mostly wait."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = KafkaProcess(tmp_path_factory.mktemp("kafka"))
    process.format()
    process.start()
    with raw.RawConnection(process.bootstrap) as connection:
        raw.find_coordinator(connection, "any")
        first = raw.request_of("InitProducerId", transactional_id=None, transaction_timeout_ms=60_000)
        while connection.ask(first, 5).error_code != ErrorCode.NONE:
            time.sleep(0.1)  # its first block of producer ids is on the way
    yield process.bootstrap
    process.stop(cleanly=False)


def test_kafka_answers_as_noted(kafka: str) -> None:
    noted = cases.kafka_answers()
    differing = {}
    for name in cases.load():
        if name not in RESTLESS:
            found = _found(name, kafka, noted[name])
            if found:  # once more: on a busy machine Kafka's own timers may come between two requests
                found = _found(name, kafka, noted[name])
            if found:
                differing[name] = found
    assert differing == {}


def _found(name: str, bootstrap: str, noted: list[Any]) -> dict[str, str]:
    return dict(differences(cases.hold(name, bootstrap), noted))
