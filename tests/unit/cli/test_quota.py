"""``odradek quota``."""

from tests.unit.cli.conftest import Run


def test_set_list_and_remove(run: Run) -> None:
    run("quota", "set", "--user", "alice", "--client-id", "default", "producer_byte_rate=1048576")
    run("quota", "set", "-c", "batch", "consumer_byte_rate=1000", "request_percentage=12.5", "--dry-run")
    assert "changed" in run("quota", "set", "-c", "batch", "request_percentage=12.5").err
    found = run("quota", "ls", "-o", "json").json
    assert {"entity": {"client-id": "batch"}, "limits": {"request_percentage": 12.5}} in found
    assert {
        "entity": {"client-id": None, "user": "alice"},
        "limits": {"producer_byte_rate": 1048576.0},
    } in found
    assert "client-id=default user=alice" in run("quota", "list", "--user", "alice").out
    changed = run("quota", "set", "-u", "alice", "-c", "default", "producer_byte_rate-", "-o", "json").json
    assert changed == {
        "entity": {"user": "alice", "client-id": None},
        "limits": {"producer_byte_rate": None},
        "changed": True,
    }
    run("quota", "set", "-c", "batch", "request_percentage-")
    assert "No quota is set." in run("quota", "list").err


def test_what_makes_no_sense(run: Run) -> None:
    run("quota", "set", "producer_byte_rate=1", code=2)
    run("quota", "set", "-u", "alice", "producer_byte_rate", code=2)
    run("quota", "set", "-u", "alice", "producer_byte_rate=much", code=2)
    refused = run("quota", "set", "--ip", "127.0.0.1", "producer_byte_rate=1", code=1)
    assert "Invalid configuration key producer_byte_rate" in refused.err
