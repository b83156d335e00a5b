r"""One run of the transaction checker: clients at work, a nemesis that kills, and the reckoning afterwards.

    producers --> input --> copiers (group "classic")  --> output-classic
                       \-> copiers (group "consumer") --> output-consumer
    readers follow all three topics all the time, read_committed.

The nemesis kills the broker with -9 and starts it again, kills clients with -9 and starts them again, and
stops a client for longer than its session lasts while another one takes its transactional id: a zombie.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tests.faults.transactions.checker import Copy, Final, Violation, violations_of
from tests.faults.transactions.client import CALM, Settings
from tests.faults.transactions.history import Entry, History, Place, Writer, load
from tests.faults.transactions.stuck import account_of_client, account_of_group
from tests.faults.transactions.trace import trace

PARTITIONS = 3
SEGMENT_BYTES = 1 << 20
READ_S = 120.0
GONE_S = 90.0
"""Clients that are to end finish their transaction first, which may need the broker to abort another one."""


class KillableBroker(Protocol):
    """What is asked of a broker; :class:`BrokerProcess` is one."""

    @property
    def bootstrap(self) -> str: ...
    def start(self) -> object: ...
    def kill(self) -> None: ...
    def log_tail(self) -> str: ...


@dataclass
class Running:
    """A client's process; ``process`` is the one of its present life."""

    settings: Settings
    process: "subprocess.Popen[bytes]"


@dataclass(frozen=True)
class Verdict:
    """What came of an episode."""

    history: History
    final: Final
    violations: list[Violation]
    account: str = ""
    """Of what got stuck, while it was."""

    @property
    def story(self) -> str:
        return f"{trace(self.history, self.final, self.violations)}\n{self.account}"

    @property
    def summary(self) -> str:
        outcomes = self.history.outcomes.values()
        committed = sum(outcome.committed for outcome in outcomes)
        unknown = len(self.history.intentions) - len(outcomes)
        shown = sum(len(records) for records in self.final.log.values())
        seen = sum(len(read.records) for read in self.history.reads)
        return (
            f"{committed} transactions committed, {len(outcomes) - committed} aborted, "
            f"{unknown} of unknown end; {shown} records, {seen} shown to readers"
        )


@dataclass
class Episode:
    """``protocols`` are those of the copiers' groups, one group each."""

    broker: KillableBroker
    folder: Path
    seed: int
    protocols: tuple[str, ...] = ("classic", "consumer")
    clients: list[Running] = field(default_factory=list)
    name: str = ""
    actions: tuple[str, ...] = ("broker", "client", "client", "zombie")
    """What the nemesis draws from; nothing: it stays away."""
    patience_s: float = 60.0
    """How long a group of copiers may be without progress in the end, and other waits may be in all."""
    account: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.chance = random.Random(self.seed)
        self.name = self.name or f"e{self.seed}"
        self.log = Writer(self.folder / "nemesis.jsonl", "nemesis")
        self.input = f"{self.name}-input"
        self.outputs = {protocol: f"{self.name}-output-{protocol}" for protocol in self.protocols}

    def run(self, seconds: float, is_enough: Callable[[History], bool] = lambda history: True) -> Verdict:
        """Works and kills for ``seconds``, and on until it is enough; lets everything end, and judges."""
        try:
            self._create_topics()
            self._start_clients()
            self._haunt(time.monotonic() + seconds)
            while not is_enough(self._history()):
                time.sleep(0.5)
            problems = self._wind_down()
        finally:
            for client in self.clients:
                client.process.kill()
                client.process.wait()
        final = self._final()
        history = self._history()
        return Verdict(history, final, [*problems, *violations_of(history, final)], self.account)

    def _history(self) -> History:
        return load(sorted(self.folder.glob("*.jsonl")))

    def _note(self, text: str) -> None:
        self.log.write("note", text=text)

    # -- clients

    def _create_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        topics = [
            NewTopic(topic, PARTITIONS, 1, config={"segment.bytes": str(SEGMENT_BYTES)})
            for topic in (self.input, *self.outputs.values())
        ]
        for future in admin.create_topics(topics).values():
            future.result(60)

    def _start_clients(self) -> None:
        common = Settings("", "", 0, self.broker.bootstrap, str(self.folder), PARTITIONS)
        for library in ("confluent", "confluent", "kafka-python", "aiokafka"):
            name = f"{self.name}-{library}-{len(self.clients)}"
            self._start(replace(common, role="produce", name=name, library=library, topic=self.input))
        for protocol in self.protocols:
            for number in range(2):
                self._start(
                    replace(
                        common,
                        role="copy",
                        name=f"{self.name}-copier-{protocol}-{number}",
                        topic=self.input,
                        target=self.outputs[protocol],
                        group=self._group(protocol),
                        protocol=protocol,
                    )
                )
        everything = ",".join([self.input, *self.outputs.values()])
        self._start(replace(common, role="read", name=f"{self.name}-reader", topic=everything))

    def _group(self, protocol: str) -> str:
        return f"{self.name}-{protocol}"

    def _start(self, settings: Settings) -> None:
        self.clients.append(Running(settings, self._spawn(settings)))

    def _spawn(self, settings: Settings) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.faults.transactions.client", settings.to_json()]
        with (self.folder / "stderr").open("ab") as errors:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=errors, cwd=Path(__file__).parents[3]
            )

    def _next_life(self, client: Running) -> None:
        client.settings = replace(client.settings, life=client.settings.life + 1)
        client.process = self._spawn(client.settings)

    # -- nemesis

    def _haunt(self, until: float) -> None:
        time.sleep(min(3.0, max(0.0, until - time.monotonic())))
        does = {"broker": self._kill_broker, "client": self._kill_client, "zombie": self._make_zombie}
        while self.actions and time.monotonic() < until:
            does[self.chance.choice(self.actions)]()
            time.sleep(self.chance.random() * 2.5)
        time.sleep(max(0.0, until - time.monotonic()))

    def _kill_broker(self) -> None:
        self._note("the broker is killed")
        self.broker.kill()
        time.sleep(self.chance.random() * 0.3)
        self.broker.start()
        self._note("the broker is back")

    def _kill_client(self) -> None:
        client = self.chance.choice([one for one in self.clients if one.settings.role != "read"])
        self._note(f"{client.settings.name}.{client.settings.life} is killed")
        client.process.kill()
        client.process.wait()
        self._next_life(client)

    def _make_zombie(self) -> None:
        """A stopped process whose successor has done some work already when it comes back."""
        client = self.chance.choice([one for one in self.clients if one.settings.role == "produce"])
        zombie, name = client.process, f"{client.settings.name}.{client.settings.life}"
        self._note(f"{name} is stopped, and another takes its id")
        zombie.send_signal(signal.SIGSTOP)
        self._next_life(client)
        time.sleep(1 + self.chance.random() * 2)
        self._note(f"{name} comes back as a zombie")
        zombie.send_signal(signal.SIGCONT)
        time.sleep(0.5 + self.chance.random())
        zombie.kill()
        zombie.wait()
        self._note(f"{name} is buried")

    # -- reckoning

    def _wind_down(self) -> list[Violation]:
        """Producers end, copiers catch up and end, readers read to the end; it tells what does not end."""
        (self.folder / CALM).touch()  # copiers catch up in seconds if they need not rejoin all the time
        problems = [*self._end("produce")]
        problems += self._wait_until_stable([self.input])
        problems += self._wait_for_copiers()
        problems += self._end("copy")
        problems += self._wait_until_stable([*self.outputs.values()])
        time.sleep(1.0)
        problems += self._end("read")
        return problems

    def _end(self, role: str) -> Iterator[Violation]:
        running = [one for one in self.clients if one.settings.role == role]
        for client in running:
            if client.process.poll() is not None:
                text = (
                    f"{client.settings.name} ended by itself: {client.process.returncode}: {self._errors()}"
                )
                yield Violation("stuck", text)
            client.process.terminate()
        deadline = time.monotonic() + GONE_S
        for client in running:
            try:
                client.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                client.process.send_signal(signal.SIGUSR1)
                time.sleep(0.2)
                text = (
                    f"{client.settings.name} could not finish its transaction in {GONE_S} s: {self._errors()}"
                )
                yield Violation("stuck", text)

    def _errors(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")[-1_500:]

    def _wait_for_copiers(self) -> Iterator[Violation]:
        """Until all groups have committed everything that there is to read.

        However far behind a group is, and however slow the machine, it is stuck only if it gets no nearer to
        the end: what is left to read is finite, so one that always gets nearer arrives.
        """
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        last = {number: self._last_committed(number) for number in range(PARTITIONS)}
        total = sum(last.values())
        nearest = {protocol: (total, time.monotonic()) for protocol in self.protocols}
        while nearest:
            for protocol, (left, since) in list(nearest.items()):
                committed = self._committed(admin, protocol)
                behind = {
                    n: (committed.get(n, 0), end) for n, end in last.items() if committed.get(n, 0) < end
                }
                left_now = sum(end - offset for offset, end in behind.values())
                if not behind:
                    del nearest[protocol]
                elif left_now < left:
                    nearest[protocol] = left_now, time.monotonic()
                elif time.monotonic() > since + self.patience_s:
                    del nearest[protocol]
                    yield self._stuck(protocol, behind)
            time.sleep(0.2)

    def _stuck(self, protocol: str, behind: dict[int, tuple[int, int]]) -> Violation:
        """Also writes down how the group and its copiers are, while they still are."""
        group = self._group(protocol)
        copiers = [one for one in self.clients if one.settings.group == group]
        self.account += "\n".join(
            [
                account_of_group(self.broker.bootstrap, group),
                *(account_of_client(one.process, one.settings) for one in copiers),
                "",
            ]
        )
        text = f"group {group} is behind, and has not got nearer for {self.patience_s} s: {behind}"
        return Violation("stuck", text)

    def _last_committed(self, partition: int) -> int:
        """The offset after the last record that a read_committed reader is shown."""
        records = self._read(self.input)[Place(self.input, partition)]
        return records[-1][0] + 1 if records else 0

    def _committed(self, admin: AdminClient, protocol: str) -> dict[int, int]:
        asked = ConsumerGroupTopicPartitions(self._group(protocol))
        try:
            answer = admin.list_consumer_group_offsets([asked], require_stable=True)[
                self._group(protocol)
            ].result(60)
        except KafkaException:
            return {}
        return {one.partition: one.offset for one in answer.topic_partitions if one.offset >= 0}

    def _final(self) -> Final:
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        log: dict[Place, list[tuple[int, Entry]]] = {}
        for topic in (self.input, *self.outputs.values()):
            log.update(self._read(topic))
        copies = [
            Copy(self._group(protocol), self.input, target, self._committed(admin, protocol))
            for protocol, target in self.outputs.items()
        ]
        return Final(log, copies)

    def _read(self, topic: str) -> dict[Place, list[tuple[int, Entry]]]:
        """Everything that a read_committed reader is shown, up to the end of the log."""
        places = [Place(topic, number) for number in range(PARTITIONS)]
        log: dict[Place, list[tuple[int, Entry]]] = {place: [] for place in places}
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": f"{self.name}-last",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
            open_places = set(places)
            deadline = time.monotonic() + READ_S
            while open_places:
                assert time.monotonic() < deadline, (
                    f"{topic} could not be read to its end:\n{self.broker.log_tail()}"
                )
                for raw in consumer.consume(2_000, 0.2):
                    place = Place(raw.topic(), raw.partition())
                    if raw.error():
                        open_places.discard(place)
                    else:
                        log[place].append((raw.offset(), Entry.parse(raw.value())))
        finally:
            consumer.close()
        return log

    def _wait_until_stable(self, topics: list[str]) -> Iterator[Violation]:
        """Until no transaction is open: the broker ends what clients left, after a time-out."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        deadline = time.monotonic() + self.patience_s
        for place in [Place(topic, number) for topic in topics for number in range(PARTITIONS)]:
            where = TopicPartition(*place)
            latest = {where: OffsetSpec.latest()}
            while True:
                stable, end = (
                    admin.list_offsets(latest, isolation_level=level)[where].result(60).offset
                    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
                )
                if stable == end:
                    break
                if time.monotonic() > deadline:
                    text = f"a transaction is still open in {place}: stable up to {stable} of {end}"
                    yield Violation("stuck", text, frozenset(), place, stable)
                    break
                time.sleep(0.2)
