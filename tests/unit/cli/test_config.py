import json

import pytest

from odradek.core.config.keys import broker_keys
from tests.unit.cli.conftest import Run


def overrides(run: Run, topic: str) -> dict[str, str]:
    """What is set for the topic itself; the testing broker's own defaults differ, too."""
    found = run("config", "get", "topic", topic, "-o", "json").json
    return {entry["name"]: entry["value"] for entry in found if entry["source"] == "topic"}


def test_topic_configs_are_set_got_and_unset(run: Run, odradek_topic: str) -> None:
    run("config", "set", "topic", odradek_topic, "retention.ms=1000", "cleanup.policy = compact")
    assert overrides(run, odradek_topic) == {"cleanup.policy": "compact", "retention.ms": "1000"}
    assert "compact" in run("config", "get", "topic", odradek_topic).out
    run("config", "set", "topic", odradek_topic, "retention.ms-", "cleanup.policy-")
    assert overrides(run, odradek_topic) == {}
    everything = run("config", "get", "topic", odradek_topic, "--all", "-o", "json").json
    assert len(everything) > 20
    (one,) = run("config", "get", "topic", odradek_topic, "retention.ms", "-o", "json").json
    assert one == {
        "name": "retention.ms",
        "value": "604800000",
        "source": "default",
        "read_only": False,
        "sensitive": False,
    }


def test_broker_configs(run: Run) -> None:
    assert "num.partitions" in run("config", "get", "broker", 1).out
    (one,) = run("config", "get", "broker", 1, "num.partitions", "-o", "json").json
    assert (one["value"], one["source"], one["read_only"]) == ("1", "static", True)
    run("config", "set", "broker", "default", "log.retention.ms=5000")
    assert "log.retention.ms" in run("config", "get", "broker", "default").out
    run("config", "set", "broker", "default", "log.retention.ms-")


def test_group_configs(run: Run) -> None:
    key = "consumer.session.timeout.ms"
    run("config", "set", "group", "g", f"{key}=50000")
    (one,) = run("config", "get", "group", "g", "-o", "json").json
    assert (one["name"], one["value"], one["source"]) == (key, "50000", "group")
    refused = run("config", "set", "group", "g", f"{key}=1", code=1).err
    assert "group.consumer.min.session.timeout.ms" in refused
    run("config", "set", "group", "g", f"{key}-")
    assert "at its default" in run("config", "get", "group", "g").err


def test_what_is_not_there(run: Run, odradek_topic: str) -> None:
    run("config", "get", "topic", "nowhere", code=3)
    assert (
        "no topic config retention.mz"
        in run("config", "get", "topic", odradek_topic, "retention.mz", code=3).err
    )
    assert "retention.ms" in run("config", "set", "topic", odradek_topic, "retention.mz=1", code=1).err
    run("config", "set", "topic", odradek_topic, "retention.ms=1", "--dry-run")
    assert overrides(run, odradek_topic) == {}


@pytest.mark.parametrize(
    "arguments",
    [["set", "topic", "t", "novalue"], ["set", "topic", "t"], ["get", "broker", "x"], ["get", "planet", "x"]],
)
def test_what_cannot_be_meant(run: Run, arguments: list[str]) -> None:
    run("config", *arguments, code=2)


def test_every_key_of_kafka_is_listed_with_its_status(run_offline: Run) -> None:
    keys = run_offline("config", "keys", "-o", "json").json
    assert [key["name"] for key in keys] == sorted(broker_keys())
    assert all(key["status"] in ("implemented", "accepted", "refused") and key["text"] for key in keys)
    node = next(key for key in keys if key["name"] == "node.id")
    assert set(node) == {"name", "type", "default", "kafka_default", "valid", "status", "text"}


def test_keys_can_be_searched(run_offline: Run) -> None:
    found = json.loads(run_offline("config", "keys", "^sasl", "-s", "refused", "-o", "json").out)
    assert found
    assert all(key["name"].startswith("sasl") and key["status"] == "refused" for key in found)
    shown = run_offline("config", "keys", "log.flush.interval.messages")
    assert "implemented" in shown.out
    assert shown.err.startswith("1 keys: 1 implemented")
    run_offline("config", "keys", "nothing-like-it", code=3)
    run_offline("config", "keys", "(", code=2)


def test_setting_says_what_it_did_as_data(run: Run, odradek_topic: str) -> None:
    arguments = ("config", "set", "topic", odradek_topic, "retention.ms=1000", "segment.ms-", "-o", "json")
    done = {
        "kind": "topic",
        "name": odradek_topic,
        "configs": {"retention.ms": "1000", "segment.ms": None},
        "changed": True,
    }
    assert run(*arguments, "--dry-run").json == {**done, "changed": False}
    assert run(*arguments).json == done


def test_a_key_that_is_not_there_brings_the_nearest(run: Run, odradek_topic: str) -> None:
    near = run("config", "get", "topic", odradek_topic, "retention.mz", "segment.ms", code=3).err
    assert "Did you mean retention.ms? " in near
    assert "Did you mean" not in run("config", "get", "topic", odradek_topic, "qqq", code=3).err
