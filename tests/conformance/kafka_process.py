"""A real Apache Kafka beside us: its tools, and a broker on a folder of ours."""

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.support.ports import ReservedPort

ROOT = Path(__file__).parents[2]
HEAP = "-Xmx384m"


@cache
def classpath() -> str:
    """Kafka's jars; skips the test when they cannot be had."""
    if shutil.which("java") is None:
        pytest.skip("there is no Java on this machine")
    fetched = subprocess.run(
        ["sh", str(ROOT / "tests" / "peers" / "fetch.sh")], capture_output=True, text=True, check=False
    )
    if fetched.returncode != 0:
        pytest.skip(f"Apache Kafka's jars are not here: {fetched.stderr.strip()[-300:]}")
    return f"{fetched.stdout.strip()}/*"


def run_tool(name: str, *arguments: str) -> str:
    """What a tool of Kafka's prints; fails the test when it fails."""
    command = ["java", HEAP, "-XX:TieredStopAtLevel=1", "-cp", classpath(), name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dump_log_segments(files: list[Path], *options: str) -> str:
    """``DumpLogSegments`` over ``files``."""
    names = ",".join(str(path) for path in files)
    return run_tool("org.apache.kafka.tools.DumpLogSegments", *options, "--files", names)


class KafkaProcess:
    """One broker (KRaft, single node) whose data lies in ``folder``/data; ``settings`` come on top."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        self._ports = ReservedPort(), ReservedPort()
        self.port, controller = (port.number for port in self._ports)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._properties = folder / "server.properties"
        self._log = folder / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._properties.write_text(
            f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={self.data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
            + "".join(f"{key}={value}\n" for key, value in (settings or {}).items())
        )

    def format(self) -> None:
        """Make the data folder as Kafka wants it."""
        self.data.mkdir()
        arguments = ("format", "-t", "QNyKKmCGT8mN7iKK7D0G6w", "-c", str(self._properties))
        run_tool("kafka.tools.StorageTool", *arguments)

    def start(self, patience_s: float = 240) -> None:
        """Start and wait until it takes connections."""
        command = ["java", HEAP, "-cp", classpath(), "kafka.Kafka", str(self._properties)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()[-3000:]
                time.sleep(0.2)
        raise AssertionError(f"Kafka did not start: {self._log.read_text()[-3000:]}")

    def stop(self, *, cleanly: bool = True) -> None:
        """Stop it by SIGTERM, or by SIGKILL; it may be stopped already."""
        if self._process is not None:
            if cleanly:
                self._process.terminate()
            else:
                self._process.kill()
            self._process.wait(240)
            self._process = None
