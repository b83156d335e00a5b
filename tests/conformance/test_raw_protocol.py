"""Conversations in bare requests: the broker under test answers as Apache Kafka 4.3 did."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance import cases
from tests.conformance.conftest import EXTERNAL
from tests.conformance.deviations import DEVIATIONS

ANSWERS = cases.kafka_answers()


@pytest.mark.parametrize("name", list(cases.load()))
def test_answers_as_kafka_does(name: str, plain_bootstrap: str) -> None:
    differing = dict(differences(cases.hold(name, plain_bootstrap), ANSWERS[name]))
    deviation = DEVIATIONS.get(name)
    if deviation is not None and not EXTERNAL:
        assert differing, f"{name} deviates no more: {deviation.reason}"
        differing = {
            path: text for path, text in differing.items() if not re.fullmatch(deviation.places, path)
        }
    if differing:
        pytest.fail("\n".join(f"{path}: {text}" for path, text in differing.items()), pytrace=False)


def test_every_deviation_is_of_a_case() -> None:
    assert DEVIATIONS.keys() <= cases.load().keys() == ANSWERS.keys()


def differences(got: Any, wanted: Any, path: str = "answer") -> Iterator[tuple[str, str]]:
    """Where the two differ: the path to each place, and what is there."""
    if isinstance(got, dict) and isinstance(wanted, dict) and got.keys() == wanted.keys():
        for key in got:
            yield from differences(got[key], wanted[key], f"{path}.{key}")
    elif isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        for number, (one, other) in enumerate(zip(got, wanted, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif got != wanted:
        yield path, f"{json.dumps(got)}, but Kafka: {json.dumps(wanted)}"
