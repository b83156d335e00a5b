"""One run: a broker, its clients and all that goes wrong, in one thread, from one seed."""

import logging
import random
from collections.abc import Mapping
from typing import NamedTuple

from odradek.protocol.generated.metadata import MetadataRequest
from odradek.testing.simulation.admin import Admin
from odradek.testing.simulation.chaos import DOWN_MS, Chaos
from odradek.testing.simulation.client import TopicInfo
from odradek.testing.simulation.consumer import EARLIEST, LATEST, Consumer
from odradek.testing.simulation.copier import Copier, LoneCopier
from odradek.testing.simulation.group import GroupMember
from odradek.testing.simulation.history import Entry, History
from odradek.testing.simulation.loop import Future, Loop
from odradek.testing.simulation.network import Disconnected
from odradek.testing.simulation.node import Node
from odradek.testing.simulation.producer import Producer
from odradek.testing.simulation.trace import Trace
from odradek.testing.simulation.transactions import CommittedReader, TransactionalProducer, TransactionRecord

RUN_MS = 6_000
HEAL_MS = 60_000
"""So long after the last harm everybody must have come to an end."""


class Result(NamedTuple):
    """What came of a run. ``digest`` is the same for every run of one seed on one version of the code;
    ``options`` are those of the command that runs it again."""

    seed: int
    options: list[str]
    problems: list[str]
    digest: str
    counts: Mapping[str, int]
    trace: list[str]


class Simulation:
    """A run from one seed: ``Simulation(seed).run()``. Each object runs once.

    ``run_ms`` is how long there is harm, in simulated time; ``overrides`` are broker keys; ``transactions``
    adds transactional producers, readers of what is committed, and copiers of it; with ``only_power_cuts``
    there is no other harm, and more often.
    """

    def __init__(
        self,
        seed: int,
        *,
        run_ms: int = RUN_MS,
        overrides: Mapping[str, str] | None = None,
        transactions: bool = False,
        only_power_cuts: bool = False,
    ) -> None:
        self.seed = seed
        self._options = _as_options(run_ms, overrides or {}, transactions, only_power_cuts)
        self.rng = random.Random(seed)
        self.loop = Loop()
        self.trace = Trace(self.loop)
        self.history = History()
        keys = {
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "100",
            "offsets.topic.num.partitions": "2",
            "log.roll.ms": "3000",
            "log.retention.check.interval.ms": "2000",
            "auto.create.topics.enable": "false",
            "transaction.state.log.num.partitions": "2",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        }
        self.node = Node(self.loop, self.rng, self.trace, {**keys, **(overrides or {})})
        self.node.on_power_cut = self._power_was_cut
        self.topics: list[TopicInfo] = []
        self.kept_topics: list[TopicInfo] = []
        """Never deleted: groups read them."""
        self.deleted_topics: list[TopicInfo] = []
        """Those whose deletion was acknowledged."""
        self.producer_ids: dict[int, None] = {}
        self.transactions: dict[str, TransactionRecord] = {}
        """By their names, those of the transactional producers, if there are any."""
        self.is_ending = False
        self._run_ms = run_ms
        self._with_transactions = transactions
        self._transactional_topic: TopicInfo | None = None
        self._copiers: list[Copier] = []
        self._chaos = Chaos(self, only_power_cuts=only_power_cuts)
        self._is_over = False

    @property
    def rots(self) -> bool:
        """Whether bits flip in this run."""
        return self._chaos.rot.is_there

    def run(self) -> Result:
        """Simulate and judge."""
        watch = _LogWatch(self)
        watch.__enter__()
        try:
            self._run()
        except AssertionError as error:
            self.history.problem(f"a promise inside was broken: {error!r}")
        finally:
            watch.__exit__()
        counts = {
            **self.history.counts,
            "lives": self.node.lives,
            "power cuts": self.history.power_cuts,
            "crashes in recovery": self.node.crashes_in_recovery,
        }
        lines = list(self.trace.lines)
        return Result(self.seed, self._options, self.history.problems, self.trace.digest(), counts, lines)

    def _run(self) -> None:
        self._supervise()
        tasks: list[Future[None]] = []
        admin = Admin(self, "admin")
        group_members: list[GroupMember] = []

        async def begin() -> None:
            self.kept_topics.append(await admin.create("kept", 3, is_plain=True))
            if self._with_transactions:
                names = ("transactional", "copies", "lone-copies")
                topic, copies, lone_copies = [await admin.create(name, 2, is_plain=True) for name in names]
                for each in (topic, copies, lone_copies):
                    self.topics.remove(each)  # nobody else writes to it
                self._transactional_topic = topic
                clients = [TransactionalProducer(self, f"x{number}", topic) for number in range(2)]
                tasks.extend(self.loop.spawn(client.run()) for client in clients)
                tasks.append(self.loop.spawn(CommittedReader(self, "r0", topic).run()))
                for number in range(2):
                    self._copiers.append(Copier(self, f"y{number}", "copiers", topic, copies))
                    self._copiers.append(LoneCopier(self, f"z{number}", topic, lone_copies, number))
                tasks.extend(self.loop.spawn(copier.run()) for copier in self._copiers)
            tasks.append(self.loop.spawn(admin.run()))
            tasks.extend(
                self.loop.spawn(Producer(self, f"p{number}", acks).run())
                for number, acks in enumerate((-1, -1, 1))
            )
            tasks.extend(self.loop.spawn(Consumer(self, f"c{number}").run()) for number in range(2))
            group_members.extend(
                GroupMember(self, f"g{number}", "readers", self.kept_topics[0]) for number in range(2)
            )
            tasks.extend(self.loop.spawn(member.run()) for member in group_members)
            tasks.append(self.loop.spawn(self._chaos.run()))

        begun = self.loop.spawn(begin())
        self.loop.run_for(self._run_ms)
        self._end()
        if not self.loop.run_for(
            HEAL_MS, until=lambda: begun.is_done and all(task.is_done for task in tasks)
        ):
            self.history.problem(f"somebody still waits {HEAL_MS} ms after the last harm")
            return
        self.node.crash(cuts_power=True)
        checked = self.loop.spawn(self._check(group_members))
        if not self.loop.run_for(HEAL_MS, until=lambda: checked.is_done):
            self.history.problem("the broker does not answer in the end")

    def _end(self) -> None:
        self.trace.note("chaos", "is over")
        self.is_ending = True
        self._chaos.heal()
        if self.node.is_up:
            self.node.note_offline()  # a read may have found it, and no flush came since
        if self.node.offline or self._chaos.rot.partitions:
            # As an operator would, once the disk is sound again.
            self.node.crash(cuts_power=False)

    def _supervise(self) -> None:
        """Start the broker again whenever it is down."""
        if not self.node.is_up and not self._is_over:
            self.node.start()
            if self.node.is_up:
                self._check_start()
        self.loop.after(self.rng.random() * DOWN_MS, self._supervise)

    def _check_start(self) -> None:
        """No crash alone may damage a partition."""
        for partition, why in self.node.offline.items():
            if not self.node.had_faults and partition not in self._chaos.rot.partitions:
                self.history.problem(f"{partition} is offline after a start: {why}")

    def _power_was_cut(self) -> None:
        self.history.power_was_cut()
        self._chaos.rot.power_was_cut()

    async def _check(self, members: list[GroupMember]) -> None:
        """Read everything once more and hold it against what clients were told."""
        reader = Consumer(self, "checker")
        while True:
            try:
                described = (await reader.call(MetadataRequest(topics=None), 12)).topics
                break
            except Disconnected:
                await reader.back_off()
        there = {topic.topic_id for topic in described}
        for topic_id, promise in self.history.topics.items():
            if topic_id not in there:
                self.history.problem(f"topic {promise.name} is lost")
        for topic in self.deleted_topics:
            if topic.topic_id in there:
                self.history.problem(f"topic {topic.name} was deleted and is there again")
        for topic in self.topics:
            if topic.is_alive:
                for partition in range(topic.partitions):
                    await self._check_partition(reader, topic, partition)
        if self._transactional_topic is not None:
            await CommittedReader(self, "r1", self._transactional_topic).check()
            for copier in self._copiers[:2]:  # one of each kind
                await copier.check()
        for member in members:
            while not await member.check_commits():
                await reader.back_off()

    async def _check_partition(self, reader: Consumer, topic: TopicInfo, partition: int) -> None:
        start = end = None
        while start is None or end is None:
            try:
                start = await reader.offset_of(topic, partition, EARLIEST)
                end = await reader.offset_of(topic, partition, LATEST)
            except Disconnected:
                await reader.back_off()
        log: list[tuple[int, Entry]] = []
        position = start
        while position < end:
            position, found = await reader.poll(topic, partition, position, 0)
            log += found or []
            if found is not None and not found:
                self.history.problem(f"{topic.name}-{partition}: nothing to read at {position} of {end}")
                return
        self.history.check_log((topic.topic_id, partition), start, log, self.loop.now_ms())


def _as_options(
    run_ms: int, overrides: Mapping[str, str], transactions: bool, only_power_cuts: bool
) -> list[str]:
    """What of a run is not as it is without any option, as ``__main__`` takes it."""
    options = [f"--run-ms {run_ms}"] if run_ms != RUN_MS else []
    options += [f"--set {name}={value}" for name, value in overrides.items()]
    options += ["--transactions"] if transactions else []
    return options + (["--only-power-cuts"] if only_power_cuts else [])


class _LogWatch(logging.Handler):
    """Takes the broker's log into the trace; what it calls a fault of its own is a problem."""

    def __init__(self, world: Simulation) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._logger = logging.getLogger("odradek")
        self._before = (self._logger.level, self._logger.propagate)

    def __enter__(self) -> None:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def __exit__(self) -> None:
        self._logger.removeHandler(self)
        self._logger.level, self._logger.propagate = self._before
        self._logger.setLevel(self._before[0])

    def emit(self, record: logging.LogRecord) -> None:
        self._world.trace.note("log", record.getMessage())
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            self._world.trace.note("log", text)
            self._world.history.problem(f"{record.getMessage()}: {text.splitlines()[-1]}")
