import json
import re

import pytest
import yaml

from odradek.cli.topic import MANY_PARTITIONS
from odradek.testing import Broker
from tests.unit.cli.conftest import Run


def test_created_topics_are_listed_and_described(run: Run, odradek_topic: str) -> None:
    one, other = f"{odradek_topic}-one", f"{odradek_topic}-other"
    created = run("topic", "create", one, other, "-p", 3, "-c", "cleanup.policy=compact", "-o", "json").json
    assert [(topic["name"], topic["partitions"], topic["created"]) for topic in created] == [
        (one, 3, True),
        (other, 3, True),
    ]
    listed = run("topic", "ls", "-r", f"{odradek_topic}-.*", "-o", "json").json
    assert listed == [
        {
            "name": topic["name"],
            "id": topic["id"],
            "partitions": 3,
            "replication_factor": 1,
            "internal": False,
        }
        for topic in created
    ]
    (described,) = yaml.safe_load(run("topic", "describe", one, "-o", "yaml").out)
    assert described["configs"]["cleanup.policy"] == {"value": "compact", "source": "topic"}
    assert described["partitions"][2] == {
        "partition": 2,
        "leader": 1,
        "leader_epoch": 0,
        "replicas": [1],
        "in_sync": [1],
        "start": 0,
        "end": 0,
    }
    shown = run("topic", "describe", one).out
    assert "cleanup.policy" in shown
    assert re.search(r"PARTITION +LEADER", shown)


def test_a_topic_that_is_there_is_an_error_unless_that_is_fine(run: Run, odradek_topic: str) -> None:
    assert "TOPIC_ALREADY_EXISTS" in run("topic", "create", odradek_topic, code=1).err
    (found,) = run("topic", "create", odradek_topic, "--if-not-exists", "-o", "json").json
    assert (found["name"], found["partitions"], found["created"]) == (odradek_topic, 1, False)


def test_a_dry_run_creates_nothing(run: Run, odradek_topic: str) -> None:
    name = f"{odradek_topic}-dry"
    (found,) = run("topic", "create", name, "-p", 2, "--dry-run", "-o", "json").json
    assert not found["created"]
    run("topic", "describe", name, code=3)


def test_many_partitions_are_warned_about_with_their_cost(run: Run, odradek_topic: str) -> None:
    done = run("topic", "create", f"{odradek_topic}-many", "-p", MANY_PARTITIONS + 1, "-o", "json")
    assert done.json[0]["partitions"] == MANY_PARTITIONS + 1
    assert re.search(r"warning: .*costs an open file", done.err)
    assert "warning" not in run("topic", "create", f"{odradek_topic}-few", "-p", MANY_PARTITIONS).err


def test_alter_adds_partitions_and_changes_configs(run: Run, odradek_topic: str) -> None:
    run("topic", "alter", odradek_topic, "-p", 2, "-s", "retention.ms=1000", "-s", "segment.ms=5000")
    run("topic", "alter", odradek_topic, "-u", "segment.ms")
    (described,) = run("topic", "describe", odradek_topic, "-o", "json").json
    assert len(described["partitions"]) == 2
    assert described["configs"]["retention.ms"] == {"value": "1000", "source": "topic"}
    assert "segment.ms" not in described["configs"]
    assert "INVALID_PARTITIONS" in run("topic", "alter", odradek_topic, "-p", 1, code=1).err
    run("topic", "alter", odradek_topic, "-s", "retention.ms=1", "--dry-run")
    (again,) = run("topic", "describe", odradek_topic, "-o", "json").json
    assert again["configs"] == described["configs"]


@pytest.mark.parametrize("arguments", [[], ["-s", "novalue"], ["-p", "0"]])
def test_alter_wants_something_that_can_be_meant(run_offline: Run, arguments: list[str]) -> None:
    run_offline("topic", "alter", "t", *arguments, code=2)


def test_a_wrong_config_names_the_nearest(run: Run, odradek_topic: str) -> None:
    assert "retention.ms" in run("topic", "alter", odradek_topic, "-s", "retention.mz=1", code=1).err


def test_deleted_topics_are_gone(run: Run, odradek_topic: str) -> None:
    assert "deleted" in run("topic", "delete", odradek_topic, "--yes").err
    missing = run("topic", "delete", odradek_topic, "-y", code=3)
    assert "odradek topic list" in missing.err
    run("topic", "describe", odradek_topic, code=3)


def test_internal_topics_are_shown_on_demand(run: Run, odradek_broker: Broker, odradek_topic: str) -> None:
    run("consume", odradek_topic, "-g", f"{odradek_topic}-g", "-e")
    names = [topic["name"] for topic in json.loads(run("topic", "list", "-o", "json").out)]
    assert "__consumer_offsets" not in names
    everything = run("topic", "list", "--internal", "-o", "json").json
    assert {topic["name"]: topic["internal"] for topic in everything}["__consumer_offsets"]


def test_a_broken_pattern_is_a_usage_error(run_offline: Run) -> None:
    assert "no regular expression" in run_offline("topic", "list", "-r", "(", code=2).err


def test_without_a_broker_the_error_says_what_to_do(run_offline: Run) -> None:
    done = run_offline("topic", "list", "-b", "127.0.0.1:1", code=1)
    assert done.err.splitlines()[0] == "error: cannot reach a broker at 127.0.0.1:1: Connection refused"
    assert "odradek serve" in done.err


def test_alter_and_delete_say_what_they_did_as_data(run: Run, odradek_topic: str) -> None:
    arguments = ("topic", "alter", odradek_topic, "-p", 2, "-s", "retention.ms=1000", "-u", "segment.ms")
    done = {
        "name": odradek_topic,
        "partitions": 2,
        "configs": {"retention.ms": "1000", "segment.ms": None},
        "changed": True,
    }
    assert run(*arguments, "--dry-run", "-o", "json").json == {**done, "changed": False}
    assert run(*arguments, "-o", "json").json == done
    configs_only = run("topic", "alter", odradek_topic, "-s", "retention.ms=1", "-o", "yaml").out
    assert yaml.safe_load(configs_only)["partitions"] is None
    deleted = run("topic", "delete", odradek_topic, "-y", "-o", "json").json
    assert deleted == [{"name": odradek_topic, "deleted": True}]
