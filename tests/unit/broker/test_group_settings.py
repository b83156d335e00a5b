from pathlib import Path

from odradek.core.config.groups import ConsumerGroupConfig
from tests.unit.broker.harness import Harness
from tests.unit.broker.test_incremental_alter_configs import alter, resource

GROUP, BROKER = 32, 4


def test_changes_apply_at_once_and_survive_a_restart(tmp_path: Path) -> None:
    harness = Harness(tmp_path, group_consumer_heartbeat_interval_ms="6000")
    assert harness.broker.group_settings("g") == ConsumerGroupConfig(45_000, 6_000, 1_000)
    assert alter(harness, resource(GROUP, "g", ("consumer.session.timeout.ms", 0, "50000"))) == [0]
    assert alter(harness, resource(BROKER, "", ("group.consumer.assignment.interval.ms", 0, "7"))) == [0]
    for _ in range(2):
        assert harness.broker.group_settings("g") == ConsumerGroupConfig(50_000, 6_000, 7)
        assert harness.broker.group_settings("other") == ConsumerGroupConfig(45_000, 6_000, 7)
        harness.restart()
    assert alter(harness, resource(GROUP, "g", ("consumer.session.timeout.ms", 1, None))) == [0]
    assert harness.broker.group_settings("g") == ConsumerGroupConfig(45_000, 6_000, 7)
