"""What of a broker cannot be used."""

from pathlib import Path

from odradek.broker import health
from odradek.core.errors import DamageError
from tests.unit.broker.harness import Harness
from tests.unit.broker.test_traffic import create


def test_a_sound_broker_has_no_problems(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    create(harness, "fine")
    found = health.look(harness.broker)
    assert (found.partitions, found.offline, found.problems) == (2, {}, [])
    assert 0 < found.disk_usable <= found.disk_total
    harness.broker.close()


def test_partitions_that_are_offline_are_named_the_first_ten_of_them(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    for number in range(6):
        create(harness, f"bad{number}")
    for log in list(harness.broker.store.logs.values()):
        log.go_offline(DamageError("a.log", 42, "the CRC is wrong"))
    found = health.look(harness.broker)
    assert len(found.offline) == 12
    assert len(found.problems) == 11
    assert "a.log" in found.problems[0]
    assert found.problems[-1] == "2 more partitions are offline"
    harness.broker.close()
