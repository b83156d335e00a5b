"""Scripts of what is done to the transaction machine: commands, ``----``, and what came of them.

A producer goes by the name of its transactional id and remembers the producer id and epoch it was last given;
``epoch=``, ``id=`` and ``version=`` (2 unless said otherwise) send something else.

    init x [known timeout=]      add x t-0 … [patience=]     verify x t-0 …     end x commit|abort
    write x t-0 value            (into the partition, which lets in what its epochs allow)
    transactions                 partition t-0               timers
    at 3s                        time-out                    expire
    hold | flush | fail | lose   refuse CODE | accept        restart
    hold-markers | write-markers [1]                         level 1            exhaust x
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from odradek.coordinator.settings import TransactionSettings
from odradek.coordinator.step import Producer
from odradek.coordinator.transactions import records
from odradek.coordinator.transactions.decisions import Ending, Initialization
from odradek.coordinator.transactions.effects import Initialized
from odradek.coordinator.transactions.transaction import LAST_EPOCH, TopicPartitionKey
from odradek.core.errors import ApiError, ErrorCode
from tests.unit.coordinator.script import milliseconds, run_blocks

from .harness import Harness, describe, describe_record


class Script:
    """Runs the commands of one script file."""

    def __init__(self) -> None:
        self.harness = Harness(TransactionSettings(expiration_ms=3_600_000))
        self.producers: dict[str, Producer] = {}
        self.token_count = 0

    def run(self, text: str) -> str:
        """The same script with what really came of each block."""
        return run_blocks(text, self.command)

    def command(self, line: str) -> list[str]:
        name, *words = line.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        action: Callable[..., list[str] | None] = getattr(self, "do_" + name.replace("-", "_"))
        shown = action(plain, options) or []
        return shown + self._happened()

    def _happened(self) -> list[str]:
        harness = self.harness
        lines = [f"wrote {describe_record(key, value)}" for key, value in harness.written]
        lines += harness.notes
        for token, outcome in harness.released:
            who = token.split("#")[0]
            lines.append(f"{who}: {self._show(who.split()[0], outcome)}")
        harness.written, harness.released, harness.notes = [], [], []
        return lines

    def _show(self, who: str, outcome: Any) -> str:
        if not isinstance(outcome, Initialized):
            return ErrorCode(outcome).name
        if outcome.producer.producer_id < 0:
            return outcome.code.name
        self.producers[who] = outcome.producer
        return f"{outcome.code.name} {outcome.producer.producer_id}/{outcome.producer.epoch}"

    def _token(self, who: str, what: str) -> str:
        self.token_count += 1
        return f"{who} {what}#{self.token_count}"

    def _producer(self, who: str, options: dict[str, str]) -> Producer:
        known = self.producers.get(who, Producer(99, 0))
        return Producer(int(options.get("id", known.producer_id)), int(options.get("epoch", known.epoch)))

    # Requests

    def do_init(self, plain: list[str], options: dict[str, str]) -> None:
        who = plain[0]
        expected = self._producer(who, options) if "known" in plain else None
        request = Initialization(who, milliseconds(options.get("timeout", "60s")), expected)
        harness = self.harness
        harness.perform(harness.shard.initialize(request, self._token(who, "init"), harness.now))

    def do_add(self, plain: list[str], options: dict[str, str]) -> None:
        who, *names = plain
        harness = self.harness
        harness.perform(
            harness.shard.add_partitions(
                who,
                self._producer(who, options),
                frozenset(map(_name, names)),
                int(options.get("version", "2")),
                self._token(who, "add"),
                harness.now,
                patience_ms=milliseconds(options.get("patience", "0s")),
            )
        )

    def do_verify(self, plain: list[str], options: dict[str, str]) -> list[str]:
        who, *names = plain
        try:
            found = self.harness.shard.verify_partitions(
                who, self._producer(who, options), frozenset(map(_name, names))
            )
        except ApiError as error:
            return [f"refused {error.code.name}"]
        return [f"{topic}-{index} {code.name}" for (topic, index), code in sorted(found.items())]

    def do_end(self, plain: list[str], options: dict[str, str]) -> None:
        who, word = plain
        request = Ending(
            who, self._producer(who, options), word == "commit", int(options.get("version", "2"))
        )
        harness = self.harness
        harness.perform(harness.shard.end(request, self._token(who, word), harness.now))

    def do_write(self, plain: list[str], options: dict[str, str]) -> list[str]:
        who, name, value = plain
        is_in = self.harness.partition(_name(name)).append(*self._producer(who, options), value)
        return [] if is_in else ["fenced"]

    # What there is

    def do_transactions(self, plain: list[str], options: dict[str, str]) -> list[str]:
        found = self.harness.shard.transactions.values()
        return [describe(transaction) for transaction in found] or ["no transactions"]

    def do_partition(self, plain: list[str], options: dict[str, str]) -> list[str]:
        outcomes = self.harness.partition(_name(plain[0])).outcomes()
        return [f"{value} {outcome}" for value, outcome in outcomes.items()] or ["nothing"]

    def do_timers(self, plain: list[str], options: dict[str, str]) -> list[str]:
        timers = sorted((deadline, key) for key, deadline in self.harness.timers.items())
        return [f"{deadline / 1000:g}s {' '.join(key)}" for deadline, key in timers] or ["no timers"]

    # The world

    def do_at(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.advance(milliseconds(plain[0]))

    def do_time_out(self, plain: list[str], options: dict[str, str]) -> None:
        harness = self.harness
        for step in harness.shard.abort_timed_out(harness.now):
            harness.perform(step)

    def do_expire(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.perform(self.harness.shard.expire(self.harness.now))

    def do_hold(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.flushes = False

    def do_flush(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.flushes = True
        self.harness.flush()

    def do_flush_once(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.flush()

    def do_fail(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.fail()

    def do_lose(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.restart(loses_undurable=True)

    def do_restart(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.restart()

    def do_refuse(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.refusal = ErrorCode[plain[0]]

    def do_accept(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.refusal = None

    def do_hold_markers(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.writes_markers = False

    def do_write_markers(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.writes_markers = not plain
        self.harness.write_markers(int(plain[0]) if plain else None)

    def do_level(self, plain: list[str], options: dict[str, str]) -> None:
        self.harness.level = int(plain[0])

    def do_exhaust(self, plain: list[str], options: dict[str, str]) -> None:
        """Gives the transactional id the last epoch that a client may get, as after 32,766 others."""
        harness, who = self.harness, plain[0]
        moved = harness.shard.transactions[who]._replace(epoch=LAST_EPOCH - 1)
        harness.log.append(records.record(moved, harness.level))
        harness.shard.transactions[who] = moved
        self.producers[who] = Producer(moved.producer_id, moved.epoch)


def _name(text: str) -> TopicPartitionKey:
    topic, _, index = text.rpartition("-")
    return topic, int(index)


def script_files() -> list[Path]:
    return sorted((Path(__file__).parent / "scripts").glob("*.txt"))
