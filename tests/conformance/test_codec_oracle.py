"""Our codec beside two others: Apache Kafka's own message classes, and kio from PyPI."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given

from codegen.schema import snake
from tests.conformance.java_oracle import Unavailable
from tests.conformance.kafka_messages import KafkaMessages, json_of, plain_names
from tests.support.messages import (
    Known,
    at_version,
    encoded,
    few,
    fullest,
    known_messages,
    plainest,
    values,
)

every_message = pytest.mark.parametrize("known", known_messages(), ids=lambda known: known.name)


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaMessages]:
    try:
        messages = KafkaMessages()
    except Unavailable as error:
        pytest.skip(str(error))
    yield messages
    messages.close()


def assert_agrees(kafka: KafkaMessages, known: Known, message: Any, version: int) -> None:
    raw = encoded(message, version)
    again, fields = kafka.reread(known.name, version, raw)
    assert again == raw, f"version {version}"
    if fields is not None:
        assert plain_names(fields) == json_of(known, message, version), f"version {version}"


@pytest.mark.java
@every_message
def test_kafka_reads_the_same_values_and_writes_the_same_bytes(kafka: KafkaMessages, known: Known) -> None:
    for version in known.versions:
        assert_agrees(kafka, known, fullest(known, version), version)
        assert_agrees(kafka, known, plainest(known, version), version)

    @few(6)
    @given(values(known))
    def check(value: Any) -> None:
        for version in known.versions:
            assert_agrees(kafka, known, at_version(known, value, version), version)

    check()


@pytest.mark.java
@every_message
def test_a_message_that_nobody_filled_in_is_kafkas(kafka: KafkaMessages, known: Known) -> None:
    for version in known.versions:
        try:
            raw, fields = kafka.fresh(known.name, version)
        except ValueError:
            with pytest.raises(ValueError, match=f"{known.name} v{version}"):
                encoded(known.cls(), version)
            continue
        assert encoded(known.cls(), version) == raw, f"version {version}"
        if fields is not None:
            assert plain_names(fields) == json_of(known, known.cls(), version), f"version {version}"


@every_message
def test_kio_writes_the_same_bytes(known: Known) -> None:
    entities = dict(kio_entities(known))
    if not entities:
        pytest.skip("kio does not have it")
    for version in entities:
        assert_kio_agrees(entities[version], version, fullest(known, version))

    @few(4)
    @given(values(known, small=True))
    def check(value: Any) -> None:
        for version in entities:
            assert_kio_agrees(entities[version], version, at_version(known, value, version))

    check()


def kio_entities(known: Known) -> Iterator[tuple[int, Any]]:
    """The versions that kio has, each with its class."""
    pytest.importorskip("kio")
    kind = known.definition.kind
    name = snake(known.name.removesuffix(kind.title()))
    for version in known.versions:
        with suppress(ModuleNotFoundError):
            module = import_module(f"kio.schema.{name}.v{version}.{kind}")
            yield version, getattr(module, known.name)


def assert_kio_agrees(entity: Any, version: int, value: Any) -> None:
    serial = import_module("kio.serial")
    raw = encoded(value, version)
    found, size = serial.entity_reader(entity)(raw, 0)
    out = BytesIO()
    serial.entity_writer(entity)(out, found)
    assert out.getvalue() == raw, f"version {version}"
    assert size == len(raw)
