"""The plugin as its users have it: loaded by its entry point into a pytest run of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

SEEN = []

def test_broker(odradek_broker, odradek_topic):
    SEEN.append(odradek_broker)
    assert odradek_broker.records(odradek_topic) == []
    assert odradek_topic.startswith("test_broker-")

@pytest.mark.parametrize("odd", ["a b/ü", "..."])
def test_topic_names_are_legal_and_new(odradek_broker, odradek_topic, odd):
    SEEN.append(odradek_broker)
    assert odradek_broker.records(odradek_topic) == []

def test_one_broker_for_all():
    assert len({id(broker) for broker in SEEN}) == 1

@pytest.mark.odradek(partitions=3, config={"message.max.bytes": 5000})
class TestMarked:
    def test_one(self, odradek_broker, odradek_topic):
        assert odradek_broker is not SEEN[0]
        assert odradek_broker._overrides["num.partitions"] == "3"
        assert odradek_broker._overrides["message.max.bytes"] == "5000"
        SEEN.append(odradek_broker)

    def test_two(self, odradek_broker):
        assert odradek_broker is SEEN[-1]

def test_factory(odradek_broker_factory):
    one, other = odradek_broker_factory(), odradek_broker_factory(partitions=2)
    assert one.is_running and one.bootstrap_servers != other.bootstrap_servers
    SEEN.append(one)

def test_the_factory_has_stopped_its_brokers():
    assert not SEEN[-1].is_running
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_fixtures_and_marker(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    done = run(tmp_path, "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_each_worker_of_xdist_has_its_own_broker(tmp_path: Path) -> None:
    suite = "def test_{0}(odradek_broker):\n    print('at', odradek_broker.bootstrap_servers)\n"
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(suite.format(name))
    plugins = ("-p", "xdist.plugin", "-p", "odradek.pytest_plugin")
    done = run(tmp_path, *plugins, "-n", "2", "--dist", "loadfile", "-rP", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == 0, done.stdout + done.stderr
    addresses = re.findall(r"at (127\.0\.0\.1:\d+)", done.stdout)
    assert len(addresses) == 2
    assert len(set(addresses)) == 2


def test_the_plugin_imports_nothing_heavy() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import odradek.pytest_plugin; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"odradek", "odradek.pytest_plugin", "__future__"}


def test_importing_the_package_is_cheap() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import odradek"],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \| odradek$", done.stderr, re.MULTILINE)
    assert int(line) < 40_000


@pytest.mark.parametrize("module", ["odradek.testing"])
def test_the_testing_module_brings_no_node_and_no_third_party(module: str) -> None:
    program = f"import sys; import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"click", "rich", "msgspec", "cramjam", "crc32c", "uvloop", "pytest"}
    assert "odradek.app" not in done.stdout.split()
