"""``odradek doctor`` against a running broker."""

from tests.unit.cli.conftest import Run


def test_every_check_has_a_say(run: Run, odradek_topic: str) -> None:
    run("produce", odradek_topic, stdin=b"1\n")
    # The broker of tests keeps its data in /tmp, unflushed.
    found = run("doctor", "--seconds", 0.1, "-o", "json", code=3).json
    by_check = {finding["check"]: finding for finding in found}
    assert {"address", "brokers", "disk", "partitions", "retention", "clock", "settings", "flush"} <= set(
        by_check
    )
    assert by_check["address"]["level"] == "ok"
    assert any("/tmp" in finding["text"] for finding in found if finding["level"] == "problem")
    assert "what to do" in run("doctor", "--seconds", 0.1, code=3).out.lower()
