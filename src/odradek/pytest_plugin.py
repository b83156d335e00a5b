"""Fixtures and a marker for tests that need a broker; loaded in every pytest run of those who have
Odradek installed.

It imports nothing but pytest until a fixture is used.

========================== ============= ==================================================================
fixture                    scope         gives
========================== ============= ==================================================================
``odradek_broker``         session       a running ``odradek.testing.Broker``
``odradek_topic``          function      the name of a new topic on it
``odradek_broker_factory`` function      a function that starts more brokers, stopped after the test
========================== ============= ==================================================================

``@pytest.mark.odradek(partitions=3, config={"auto.create.topics.enable": False})`` gives a test (or
a class, or a module) an ``odradek_broker`` of that kind.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from odradek.testing import Broker

_LONGEST_TOPIC = 200
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "odradek(partitions=1, config=None): what the odradek_broker of this test is like: the partitions of "
        "topics that do not say, and Kafka's broker keys",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A marked test gets its broker as a parameter of the session fixture, so that equal ones are shared."""
    marker = metafunc.definition.get_closest_marker("odradek")
    if marker is not None and "odradek_broker" in metafunc.fixturenames:
        wanted = _Wanted(**marker.kwargs)
        metafunc.parametrize("odradek_broker", [wanted], indirect=True, scope="session", ids=["odradek"])


class _Wanted:
    """The arguments of the marker, equal when they ask for the same broker."""

    def __init__(self, partitions: int = 1, config: Mapping[str, object] | None = None) -> None:
        self.partitions = partitions
        self.config = dict(config or {})
        self._key = (partitions, tuple(sorted((key, str(value)) for key, value in self.config.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Wanted) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@pytest.fixture(scope="session")
def odradek_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker for the whole session, or of the kind that the marker ``odradek`` asks for."""
    from odradek.testing import Broker

    wanted: _Wanted = getattr(request, "param", _Wanted())
    with Broker(partitions=wanted.partitions, config=wanted.config) as broker:
        yield broker


@pytest.fixture
def odradek_topic(odradek_broker: Broker, request: pytest.FixtureRequest) -> str:
    """A new topic that no other test uses, named after this one."""
    stem = re.sub(r"[^a-zA-Z0-9._-]+", "-", request.node.name).strip("-.")[:_LONGEST_TOPIC]
    name = f"{stem}-{next(_numbers)}"
    odradek_broker.create_topic(name)
    return name


@pytest.fixture
def odradek_broker_factory() -> Iterator[Callable[..., Broker]]:
    """A function with the arguments of ``odradek.testing.Broker`` that starts one more broker for
    this test.
    """
    from odradek.testing import Broker

    with ExitStack() as brokers:

        def start(**arguments: Any) -> Broker:
            return brokers.enter_context(Broker(**arguments))

        yield start
