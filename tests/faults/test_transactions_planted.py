"""The transaction checker, clients and all, finds the bugs that are planted in a living broker."""

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.transactions.brokers import SETTINGS
from tests.faults.transactions.episode import Episode
from tests.faults.transactions.history import History
from tests.faults.transactions.stuck import account_of_group
from tests.support.broker_process import BrokerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]

FOUND_BY = {
    "ignores_aborts": "aborted",
    "shows_open_transactions": "taken back",
    "splits_transactions": "lost",
    "forgets_offsets": "offsets",
    "commits_aborted_offsets": "offsets",
}


def has_seen_enough(history: History) -> bool:
    """A few transactions of producers and of copiers have ended either way."""
    ended = [("copier" in name, outcome.committed) for name, outcome in history.outcomes.items()]
    return all(ended.count((is_copier, is_commit)) >= 5 for is_copier in (0, 1) for is_commit in (0, 1))


@pytest.mark.parametrize("bug", list(FOUND_BY))
def test_a_planted_bug_is_found(bug: str, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.faults.transactions.planted", bug]
    broker = BrokerProcess(tmp_path / "data", SETTINGS, program=program).start()
    episode = Episode(broker, tmp_path / "clients", 1, ("classic",), actions=(), patience_s=5)
    try:
        verdict = episode.run(1, has_seen_enough)
    finally:
        broker.kill()
    assert FOUND_BY[bug] in {violation.rule for violation in verdict.violations}, verdict.summary
    assert "begins" in verdict.story


def test_the_state_of_a_stuck_group_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copiers that stop are as good as ones that never get a partition again."""
    monkeypatch.setattr("tests.faults.transactions.episode.GONE_S", 2.0)
    broker = BrokerProcess(tmp_path / "data", SETTINGS).start()
    episode = Episode(broker, tmp_path / "clients", 1, ("consumer",), actions=(), patience_s=1)

    def stops_copiers(history: History) -> bool:
        is_enough = has_seen_enough(history)
        for client in episode.clients if is_enough else ():
            if client.settings.role == "copy":
                client.process.send_signal(signal.SIGSTOP)
        while is_enough and "Empty, epoch" not in account_of_group(broker.bootstrap, "e1-consumer"):
            time.sleep(0.2)  # until their sessions are over
        return is_enough

    try:
        verdict = episode.run(1, stops_copiers)
    finally:
        broker.kill()
    assert any("group e1-consumer is behind" in violation.text for violation in verdict.violations)
    told = ("Empty, epoch", "e1-input-0: committed", "session timeout", "e1-copier-consumer-0.0 is alive")
    assert [one for one in told if one not in verdict.account] == [], verdict.account
