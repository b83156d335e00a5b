"""Random lives of transactional producers, with refused appends, failed disks, crashes and late requests, and
what always holds."""

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions.decisions import Ending, Initialization
from odradek.coordinator.transactions.effects import Initialized
from odradek.coordinator.transactions.transaction import PREPARED, State, TopicPartitionKey
from odradek.core.errors import ErrorCode

from .harness import Harness, durable_view

NAMES = ("x", "y")
PARTITIONS = tuple(("t", index) for index in range(3))
RETRIABLE = {
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.UNKNOWN_SERVER_ERROR,
}


class Instance:
    """One run of a transactional program, which does what clients do: after a lost answer it asks again, and
    it stops when it is fenced."""

    def __init__(self, name: str, number: int, version: int) -> None:
        self.name = name
        self.number = number
        self.version = version
        self.producer: Producer | None = None
        self.expected: Producer | None = None
        """What it names in the InitProducerId that is under way."""
        self.is_busy = False
        self.is_dead = False
        self.transaction = 0
        self.ending: bool | None = None
        """How it wants to end its transaction, until it is told that it has."""

    @property
    def may_go_on(self) -> bool:
        return not self.is_dead and not self.is_busy and self.producer is not None and self.ending is None


class Transactions(RuleBasedStateMachine):
    """Two transactional ids in one shard, each with instances that follow each other."""

    @initialize(level=st.sampled_from([2, 2, 1]), timeout_ms=st.sampled_from([5_000, 60_000]))
    def start(self, level: int, timeout_ms: int) -> None:
        self.harness = Harness(TransactionSettings(expiration_ms=600_000))
        self.harness.level = level
        self.timeout_ms = timeout_ms
        self.instances: list[Instance] = []
        self.latest: dict[str, int] = {}
        """The instance that was last told its producer id, by transactional id."""
        self.given: dict[Producer, int] = {}
        """Which instance has got a producer id and epoch."""
        self.tokens: dict[str, tuple[Instance, str, Any]] = {}
        self.values: dict[tuple[int, int], dict[str, TopicPartitionKey]] = defaultdict(dict)
        """What was written, by instance and number of its transaction."""
        self.told: dict[tuple[int, int], bool] = {}
        """Ends that were answered with success: whether by commit."""
        self.sent_ends: list[Ending] = []
        self.count = 0

    def _ask(self, instance: Instance, what: str, about: Any = None) -> str:
        self.count += 1
        token = f"{what}#{self.count}"
        self.tokens[token] = (instance, what, about)
        instance.is_busy = True
        return token

    def _learn(self) -> None:
        """Instances take in what they were answered."""
        while self.harness.released:
            token, outcome = self.harness.released.pop(0)
            if token not in self.tokens:
                continue  # a late request, which nobody waits for
            instance, what, about = self.tokens.pop(token)
            instance.is_busy = False
            if what == "init":
                self._initialized(instance, outcome)
            elif what == "add":
                self._added(instance, outcome, *about)
            else:
                self._ended(instance, outcome, about)

    def _initialized(self, instance: Instance, outcome: Initialized) -> None:
        if outcome.code is ErrorCode.NONE:
            owner = self.given.setdefault(outcome.producer, instance.number)
            assert owner == instance.number, "two instances have one epoch"
            instance.producer = outcome.producer
            instance.expected = None
            instance.ending = None
            instance.transaction += 1
            self.latest[instance.name] = instance.number
        elif outcome.code not in RETRIABLE:
            instance.is_dead = True

    def _added(
        self, instance: Instance, code: ErrorCode, name: TopicPartitionKey, producer: Producer
    ) -> None:
        if code is ErrorCode.NONE:
            self._write(instance, name, producer)
        elif code not in RETRIABLE:
            instance.is_dead = True

    def _write(self, instance: Instance, name: TopicPartitionKey, producer: Producer) -> None:
        self.count += 1
        value = f"v{self.count}"
        if self.harness.partition(name).append(*producer, value):
            assert self.latest[instance.name] <= instance.number, "a fenced instance has written something"
            self.values[instance.number, instance.transaction][value] = name

    def _ended(self, instance: Instance, outcome: Initialized, is_commit: bool) -> None:
        if outcome.code is ErrorCode.NONE:
            self.told[instance.number, instance.transaction] = is_commit
            instance.ending = None
            instance.transaction += 1
            if instance.version >= 2:
                self.given.setdefault(outcome.producer, instance.number)
                assert self.given[outcome.producer] == instance.number, "two instances have one epoch"
                instance.producer = outcome.producer
        elif outcome.code not in RETRIABLE:
            instance.is_dead = True

    def _pick(self, number: int, fits: Any) -> Instance | None:
        found = [instance for instance in self.instances if fits(instance)]
        return found[number % len(found)] if found else None

    # What programs do

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from([2, 2, 0]))
    def begin(self, name: str, version: int) -> None:
        if self.harness.level < 2:
            version = 0
        self.instances.append(Instance(name, len(self.instances), version))
        self._init(self.instances[-1])

    @rule(number=st.integers(0, 9), names_what_it_has=st.booleans())
    def begin_again(self, number: int, names_what_it_has: bool) -> None:
        """An InitProducerId that was not answered, or one that recovers (KIP-360)."""
        instance = self._pick(number, lambda one: not one.is_dead and not one.is_busy)
        if instance is None:
            return
        if instance.producer is not None:
            if not names_what_it_has:
                return
            instance.expected = instance.producer
        self._init(instance)

    def _init(self, instance: Instance) -> None:
        request = Initialization(instance.name, self.timeout_ms, instance.expected)
        harness = self.harness
        harness.perform(harness.shard.initialize(request, self._ask(instance, "init"), harness.now))
        self._learn()

    @rule(
        number=st.integers(0, 9),
        name=st.sampled_from(PARTITIONS),
        patience_ms=st.sampled_from([0, 100]),
    )
    def write(self, number: int, name: TopicPartitionKey, patience_ms: int) -> None:
        instance = self._pick(number, lambda one: one.may_go_on)
        if instance is None:
            return
        producer = instance.producer
        assert producer is not None
        harness = self.harness
        if harness.partition(name).open.get(producer.producer_id) == producer.epoch:
            self._write(instance, name, producer)
            return
        token = self._ask(instance, "add", (name, producer))
        harness.perform(
            harness.shard.add_partitions(
                instance.name,
                producer,
                frozenset((name,)),
                instance.version,
                token,
                harness.now,
                patience_ms=patience_ms,
            )
        )
        self._learn()

    @rule(number=st.integers(0, 9), is_commit=st.booleans())
    def end(self, number: int, is_commit: bool) -> None:
        instance = self._pick(number, lambda one: one.may_go_on)
        if instance is None or not self.values[instance.number, instance.transaction]:
            return
        instance.ending = is_commit
        self._end(instance)

    @rule(number=st.integers(0, 9))
    def end_again(self, number: int) -> None:
        instance = self._pick(
            number, lambda one: not one.is_dead and not one.is_busy and one.ending is not None
        )
        if instance is not None:
            self._end(instance)

    def _end(self, instance: Instance) -> None:
        assert instance.producer is not None
        assert instance.ending is not None
        request = Ending(instance.name, instance.producer, instance.ending, instance.version)
        self.sent_ends.append(request)
        harness = self.harness
        token = self._ask(instance, "end", instance.ending)
        harness.perform(harness.shard.end(request, token, harness.now))
        self._learn()

    @precondition(lambda self: any(request.version >= 2 for request in self.sent_ends))
    @rule(number=st.integers(0, 99))
    def a_late_end_arrives(self, number: int) -> None:
        """Of version 2: of version 1 it would end whatever is open, which is why there is a version 2."""
        late = [request for request in self.sent_ends if request.version >= 2]
        request = late[number % len(late)]
        held = {instance.producer for instance in self.instances if not instance.is_dead}
        if request.producer in held:
            return  # not late: its instance is still at it
        before = self.harness.shard.transactions.get(request.transactional_id)
        self.count += 1
        harness = self.harness
        harness.perform(harness.shard.end(request, f"late#{self.count}", harness.now))
        self._learn()
        after = harness.shard.transactions.get(request.transactional_id)
        if before is not None and before.state is State.ONGOING and before.epoch != request.producer.epoch:
            assert after == before, "a late end has touched a later transaction"

    @rule(
        name=st.sampled_from(NAMES),
        version=st.sampled_from([2, 2, 0]),
        partitions=st.lists(st.sampled_from(PARTITIONS), min_size=1, max_size=2),
        ends=st.lists(st.booleans(), max_size=3),
        late=st.integers(0, 99),
    )
    def live(
        self, name: str, version: int, partitions: list[TopicPartitionKey], ends: list[bool], late: int
    ) -> None:
        """What a well-behaved program does while all goes well, so that random lives get somewhere."""
        self.calm()
        instance = self._pick(-1, lambda one: one.name == name and one.may_go_on)
        if instance is None:
            self.begin(name, version)
            self.calm()
            instance = self.instances[-1]
            if instance.producer is None:
                self._init(instance)
        for is_commit in ends:
            self.write(self._number(instance), partitions[0], 0)
            self.end(self._number(instance), is_commit)
        for partition in partitions:
            self.write(self._number(instance), partition, 0)
        if late % 2 and any(request.version >= 2 for request in self.sent_ends):
            self.a_late_end_arrives(late)

    def _number(self, instance: Instance) -> int:
        """The number by which :meth:`write` and :meth:`end` pick just this instance."""
        able = [one for one in self.instances if one.may_go_on]
        return able.index(instance) if instance in able else 0

    # What happens to the broker

    @rule()
    def calm(self) -> None:
        """Disk and partitions are as they should be again."""
        self.accept()
        self.flush()
        self.write_markers(None)

    @rule()
    def hold(self) -> None:
        self.harness.flushes = False

    @rule()
    def flush(self) -> None:
        self.harness.flushes = True
        self.harness.flush()
        self._learn()

    @rule()
    def hold_markers(self) -> None:
        self.harness.writes_markers = False

    @rule(at_most=st.sampled_from([None, 1, 2]))
    def write_markers(self, at_most: int | None) -> None:
        self.harness.writes_markers = at_most is None
        self.harness.write_markers(at_most)
        self._learn()

    @rule(code=st.sampled_from([ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.MESSAGE_TOO_LARGE]))
    def refuse(self, code: ErrorCode) -> None:
        self.harness.refusal = code

    @rule()
    def accept(self) -> None:
        self.harness.refusal = None

    @rule(ms=st.sampled_from([50, 2_000, 10_000, 100_000]))
    def pass_time(self, ms: int) -> None:
        harness = self.harness
        harness.advance(harness.now_ms + ms)
        for step in harness.shard.abort_timed_out(harness.now):
            harness.perform(step)
        harness.perform(harness.shard.expire(harness.now))
        self._learn()

    @rule(loses_undurable=st.booleans())
    def crash(self, loses_undurable: bool) -> None:
        """Whoever waited gets no answer and asks again."""
        self.harness.restart(loses_undurable=loses_undurable)
        for instance, _, _ in self.tokens.values():
            instance.is_busy = False
        self.tokens.clear()
        self._learn()

    @rule(name=st.sampled_from(NAMES), is_commit=st.booleans(), markers=st.sampled_from([1, 1, 2]))
    def a_decision_is_lost(self, name: str, is_commit: bool, markers: int) -> None:
        """A power cut takes the record that decided an end, and keeps markers that were written with it."""
        self.live(name, 2, list(PARTITIONS[:2]), [], 0)
        instance = self._pick(-1, lambda one: one.name == name and one.may_go_on)
        self.hold()
        self.hold_markers()
        if instance is not None:
            self.end(self._number(instance), is_commit)
        self.write_markers(markers)
        self.crash(True)

    @rule()
    def stop_cleanly(self) -> None:
        """All is written then, but for what the disk refuses."""
        self.calm()
        self.harness.perform(self.harness.shard.close())
        assert not self.harness.shard.closing
        self.crash(True)

    @rule()
    def fail_and_come_back(self) -> None:
        self.harness.fail()
        self._learn()
        self.crash(False)

    # What always holds

    @invariant()
    def the_log_says_what_the_memory_knows(self) -> None:
        if not hasattr(self, "harness"):
            return
        shard = self.harness.replayed()
        for key, value in self.harness.shard.closing:
            shard.replay(-1, -1, key, value)
        replayed = shard.transactions
        known = {name: durable_view(one) for name, one in self.harness.shard.transactions.items()}
        assert replayed == known

    @invariant()
    def a_transaction_ends_as_a_whole(self) -> None:
        if not hasattr(self, "harness"):
            return
        outcomes = {
            value: outcome
            for partition in self.harness.partitions.values()
            for value, outcome in partition.outcomes().items()
        }
        for key, values in self.values.items():
            found = {outcomes[value] for value in values} - {"open"}
            assert len(found) <= 1, f"transaction {key} is seen in part"
            if found and key in self.told:
                assert found == {"commit" if self.told[key] else "abort"}, (
                    f"transaction {key} ended otherwise"
                )

    def teardown(self) -> None:
        """In the end nothing is left open, and what was promised is so."""
        if not hasattr(self, "harness"):
            return
        harness = self.harness
        harness.refusal = None
        self.flush()
        self.write_markers(None)
        harness.advance(harness.now_ms + 10_000)
        for _ in range(2):
            self.pass_time(100_000)
        assert not any(one.state in PREPARED for one in harness.shard.transactions.values())
        outcomes = {
            value: outcome
            for partition in harness.partitions.values()
            for value, outcome in partition.outcomes().items()
        }
        for key, values in self.values.items():
            found = {outcomes[value] for value in values}
            assert "open" not in found, f"transaction {key} hangs"
            if key in self.told:
                assert found <= {"commit" if self.told[key] else "abort"}
        assert not self.tokens, "somebody was never answered"


TestTransactions = Transactions.TestCase
TestTransactions.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
