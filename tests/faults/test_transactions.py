"""The transaction checker on a living broker that is killed again and again, for about a minute.

``ODRADEK_SOAK_SECONDS`` asks for another time (``make soak-transactions SECONDS=…`` goes on for as long as
wanted), ``ODRADEK_SOAK_SEED`` for another seed; ``ODRADEK_FAULTS_BROKER=kafka`` runs it on Apache Kafka.
"""

import os
from pathlib import Path

import pytest

from tests.faults.transactions.brokers import started_broker
from tests.faults.transactions.episode import Episode

pytestmark = [pytest.mark.clients, pytest.mark.slow]

SECONDS = float(os.environ.get("ODRADEK_SOAK_SECONDS", "35"))
SEED = int(os.environ.get("ODRADEK_SOAK_SEED", "1"))


@pytest.mark.timeout(300 + 2 * SECONDS)
def test_transactions_hold_while_broker_and_clients_are_killed(tmp_path: Path) -> None:
    broker = started_broker(tmp_path)
    try:
        verdict = Episode(broker, tmp_path / "clients", SEED).run(SECONDS)
    finally:
        broker.kill()
    print(verdict.summary)
    assert not verdict.violations, f"seed {SEED}, {verdict.summary}\n{verdict.story}\n{broker.log_tail()}"
