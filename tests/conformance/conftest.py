"""The broker under test, and the clients that meet it.

``ODRADEK_CONFORMANCE_BOOTSTRAP=HOST:PORT`` runs the scenarios against a broker that is already there (an
Apache Kafka, to see that the scenarios ask for what Kafka does) instead of starting Odradek.
"""

import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.drivers import DRIVERS
from tests.conformance.drivers.base import Driver, Lacking
from tests.conformance.drivers.build import Unavailable, start_builds
from tests.conformance.java_tools import Tools
from tests.conformance.kafka_process import classpath
from tests.support.broker_process import BrokerProcess

EXTERNAL = os.environ.get("ODRADEK_CONFORMANCE_BOOTSTRAP")
PLAIN_SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
SETTINGS = {
    **PLAIN_SETTINGS,
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
}
"""Kafka waits 3 s for more members of a new group, lets members of the new protocol ask every 5 s only, and
misses a killed one after 45 s: the suite would mostly wait."""
_running: list[BrokerProcess] = []


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="session")
def bootstrap(scratch: Path) -> Iterator[str]:
    """HOST:PORT of the broker under test."""
    if EXTERNAL:
        yield EXTERNAL
        return
    broker = BrokerProcess(scratch / "data", SETTINGS).start()
    _running.append(broker)
    yield broker.bootstrap
    broker.stop()


@pytest.fixture(scope="session")
def plain_bootstrap(scratch: Path) -> Iterator[str]:
    """HOST:PORT of one with Kafka's timings, as DescribeConfigs tells them."""
    if EXTERNAL:
        yield EXTERNAL
        return
    broker = BrokerProcess(scratch / "plain-data", PLAIN_SETTINGS).start()
    _running.append(broker)
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """An Odradek for this test alone, which may stop, kill and restart it."""
    if EXTERNAL:
        pytest.skip("restarts the broker, which is not ours here")
    broker = BrokerProcess(tmp_path / "data", SETTINGS).start()
    _running.append(broker)
    yield broker
    _running.remove(broker)
    broker.kill()


@pytest.fixture(scope="session", params=list(DRIVERS))
def driver(request: pytest.FixtureRequest, bootstrap: str, scratch: Path) -> Iterator[Driver]:
    """Each client library in its turn."""
    start_builds()
    try:
        driver = DRIVERS[request.param](bootstrap, scratch)
    except Unavailable as error:
        pytest.skip(str(error))
    yield driver
    driver.close()


@pytest.fixture
def tools(bootstrap: str) -> Tools:
    """Kafka's own tools, on the broker under test."""
    classpath()
    return Tools(bootstrap)


@pytest.fixture
def name() -> str:
    """A name for a topic or group that nobody had before."""
    return f"c-{uuid.uuid4().hex[:12]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1_200))  # the first test of a language waits for its build


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except Lacking as reason:
        pytest.skip(str(reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for broker in _running:
            report.sections.append(("broker log", broker.log_tail()))
    return report
