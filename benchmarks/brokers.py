"""Starts Apache Kafka and Odradek as child processes on loopback, watches them, and ends only those."""

import compileall
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import odradek
from benchmarks.admin import Admin, BrokerError

FIRST_PORT, LAST_PORT = 24092, 32000
START_LIMIT_S = 90.0
STOP_LIMIT_S = 30.0
PROBE_PAUSE_S = 0.002
# For both: the files of a deleted topic go after a second, not a minute, so that a run needs little disk.
DELETE_DELAY = {"log.segment.delete.delay.ms": "1000"}

KAFKA_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
KAFKA_LOGGING = """\
<Configuration><Appenders><Console name="c"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root></Loggers></Configuration>
"""
# What Kafka's own start script sets, with both ends of the heap at its default of 1 GiB.
JVM_OPTIONS = [
    "-server",
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
]
KAFKA_CLUSTER_ID = "T2RyYWRla0JlbmNobWFyaw"


def free_port() -> int:
    """A loopback port that nobody listens on; drawn by chance, as another bench may run beside this one."""
    while True:
        port = random.randrange(FIRST_PORT, LAST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(slots=True)
class Broker:
    """A running broker."""

    name: str
    port: int
    data: Path
    process: "subprocess.Popen[bytes]" = field(init=False)
    start_s: float = 0.0
    """From exec to the first answer to ApiVersions."""
    started: float = 0.0
    """When it was executed, by ``time.perf_counter``."""
    command: tuple[str, ...] = ()
    output: Path = Path()

    @property
    def is_started(self) -> bool:
        return hasattr(self, "process")

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises BrokerError when the process has ended."""
        if self.process.poll() is not None:
            raise BrokerError(f"{self.name} ended with status {self.process.returncode}")

    def private_memory_bytes(self) -> int:
        """RssAnon of the broker and its children: memory that nobody shares and no file backs."""
        return sum(_status_kilobytes(pid, "RssAnon") for pid in process_tree(self.pid)) * 1024

    def pin(self, cores: set[int]) -> None:
        """Moves every thread that it has to `cores`; later threads inherit that."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task), cores)

    def cpu_s(self) -> float:
        """User + system time so far, with reaped children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def data_bytes(self) -> int:
        """Bytes on disk, deleted topics included until they are gone."""
        total = 0
        for folder, _, names in os.walk(self.data):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
        return total

    def restart_after_kill(self) -> None:
        """Ends it by kill -9 and starts it again on the same data; back when it answers."""
        self.process.kill()
        self.process.wait()
        self.start()

    def start(self) -> None:
        """Executes it; back when it answers."""
        with self.output.open("wb") as sink:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                self.command,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self.output.parent,
                env=_environment(),
            )
        _wait_until_it_answers(self)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def process_tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
    return found


def _status_kilobytes(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def running_kafka(jars: Path, scratch: Path, label: str = "kafka") -> Iterator[Broker]:
    """One KRaft node with default settings on a fresh folder under `scratch`; it is gone afterwards."""
    port, controller_port = free_port(), free_port()
    folder = scratch / f"{label}-{port}"
    data = folder / "data"
    data.mkdir(parents=True)
    properties, logging = folder / "server.properties", folder / "log4j2.xml"
    text = KAFKA_PROPERTIES.format(port=port, controller_port=controller_port, data=data)
    properties.write_text(text + "".join(f"{key}={value}\n" for key, value in DELETE_DELAY.items()))
    logging.write_text(KAFKA_LOGGING)
    java = ["java", "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={logging}"]
    done = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", KAFKA_CLUSTER_ID, "-c", str(properties)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BrokerError(f"Kafka cannot format its storage:\n{done.stderr[-2000:]}")
    command = [java[0], *JVM_OPTIONS, *java[1:], "kafka.Kafka", str(properties)]
    with _running(label, command, port, folder, data) as broker:
        yield broker


@contextlib.contextmanager
def running_odradek(
    scratch: Path, settings: dict[str, str] | None = None, wrapper: list[str] | None = None
) -> Iterator[Broker]:
    """`odradek serve` with default settings and `settings` on top; `wrapper` (a profiler) runs it."""
    port = free_port()
    folder = scratch / f"odradek-{port}"
    data = folder / "data"
    folder.mkdir(parents=True)
    program = Path(sys.executable).with_name("odradek")
    command = [*(wrapper or []), str(program), "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data)]
    for key, value in {**DELETE_DELAY, **(settings or {})}.items():
        command += ["--set", f"{key}={value}"]
    with _running("odradek", command, port, folder, data) as broker:
        yield broker


def _environment() -> dict[str, str]:
    """Ours without what configures a broker, or keeps Python from using the bytecode that an install has."""
    hidden = ("KAFKA_", "ODRADEK_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def compile_odradek() -> None:
    """Writes the bytecode that an installed package has, or the first start would measure the compiler."""
    compileall.compile_dir(Path(odradek.__file__).parent, quiet=2)


@contextlib.contextmanager
def _running(name: str, command: list[str], port: int, folder: Path, data: Path) -> Iterator[Broker]:
    broker = Broker(name, port, data, command=tuple(command), output=folder / "output")
    try:
        try:
            broker.start()
            yield broker
        finally:
            if broker.is_started:
                broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_answers(broker: Broker) -> None:
    started, output = broker.started, broker.output
    while True:
        try:
            with Admin(broker.port) as admin:
                admin.api_versions()
            broker.start_s = time.perf_counter() - started
            broker.check()
            return
        except (OSError, BrokerError) as error:
            text = output.read_text(errors="replace")[-2000:]
            if broker.process.poll() is not None:
                raise BrokerError(f"{broker.name} ended while starting:\n{text}") from None
            if time.perf_counter() - started > START_LIMIT_S:
                raise BrokerError(
                    f"{broker.name} does not answer after {START_LIMIT_S:.0f} s ({error}):\n{text}"
                ) from None
        time.sleep(PROBE_PAUSE_S)
