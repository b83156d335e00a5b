import json

import pytest

from odradek.client.client import Client
from odradek.testing import Broker
from tests.unit.cli.conftest import Run


def test_lines_become_records(run: Run, odradek_broker: Broker, odradek_topic: str) -> None:
    done = run("produce", odradek_topic, "-o", "json", stdin="a\n\nü\r\nlast".encode())
    assert (done.json["topic"], done.json["records"]) == (odradek_topic, 4)
    values = [record.value for record in odradek_broker.records(odradek_topic)]
    assert values == [b"a", b"", "ü".encode(), b"last"]


def test_keys_headers_and_tombstones(run: Run, odradek_broker: Broker, odradek_topic: str) -> None:
    run("produce", odradek_topic, "-k", r"\t", "-H", "a:1", "-H", "b:x:y", "-Z", stdin=b"k\tv\tw\nk\t\n")
    first, second = odradek_broker.records(odradek_topic)
    assert (first.key, first.value, first.headers) == (b"k", b"v\tw", (("a", b"1"), ("b", b"x:y")))
    assert (second.key, second.value) == (b"k", None)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(run: Run, odradek_broker: Broker, odradek_topic: str, codec: str) -> None:
    run("produce", odradek_topic, "-z", codec, stdin=b"line\n" * 1000)
    assert len(odradek_broker.records(odradek_topic)) == 1000


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_acks(run: Run, odradek_broker: Broker, odradek_topic: str, acks: str) -> None:
    run("produce", odradek_topic, "-a", acks, stdin=b"a\n")
    assert len(odradek_broker.wait_for(odradek_topic, 1)) == 1


def test_partitions_are_javas_the_given_or_the_records(
    run: Run, odradek_broker: Broker, odradek_topic: str
) -> None:
    topic = f"{odradek_topic}-wide"
    odradek_broker.create_topic(topic, partitions=7)
    run("produce", topic, "-k", ":", stdin=b"foobar:by key\n")
    run("produce", topic, "-p", 2, stdin=b"given\n")
    run("produce", topic, "-i", "jsonl", "-p", "keep", stdin=b'{"value": "kept", "partition": 6}\n')
    found = {record.value: record.partition for record in odradek_broker.records(topic)}
    assert found == {b"by key": (-790332482 & 0x7FFFFFFF) % 7, b"given": 2, b"kept": 6}
    assert "there is no 9" in run("produce", topic, "-p", 9, stdin=b"x\n", code=3).err


def test_a_consumed_topic_can_be_given_back_unchanged(
    run: Run, odradek_broker: Broker, odradek_topic: str
) -> None:
    lines = [
        {"key": None, "value": "a", "headers": [{"key": "h", "value": None}], "timestamp": 1_700_000_000_001},
        {"key_base64": "/w==", "value_base64": "AP8=", "headers": [], "timestamp": 1_700_000_000_002},
        {
            "key": "k",
            "value": None,
            "headers": [{"key": "h", "value": "1"}, {"key": "h", "value_base64": "gA=="}],
        },
    ]
    copy = f"{odradek_topic}-copy"
    odradek_broker.create_topic(copy)
    run("produce", odradek_topic, "-i", "jsonl", stdin="\n".join(map(json.dumps, lines)).encode() + b"\n\n")
    out = run("consume", odradek_topic, "-e", "-o", "jsonl").out
    run("produce", copy, "-i", "jsonl", stdin=out.encode())
    strip = [record._replace(topic="") for record in odradek_broker.records(odradek_topic)]
    assert [record._replace(topic="") for record in odradek_broker.records(copy)] == strip
    assert strip[1][4:6] == (b"\xff", b"\x00\xff")


def test_a_bad_line_is_named_and_what_came_before_is_sent(
    run: Run, odradek_broker: Broker, odradek_topic: str
) -> None:
    done = run("produce", odradek_topic, "-k", ":", stdin=b"a:1\nb:2\nnokey\nc:3\n", code=1)
    assert done.err.splitlines() == [
        "error: line 3: no key separator ':' in it",
        "       The 2 records before it were sent.",
    ]
    assert len(odradek_broker.records(odradek_topic)) == 2
    assert "line 1: not JSON" in run("produce", odradek_topic, "-i", "jsonl", stdin=b"x\n", code=1).err


def test_a_record_that_is_too_large_says_what_to_raise(
    run: Run, odradek_broker: Broker, odradek_topic: str
) -> None:
    run("config", "set", "topic", odradek_topic, "max.message.bytes=1000")
    done = run("produce", odradek_topic, stdin=b"x" * 2000, code=1)
    assert "MESSAGE_TOO_LARGE" in done.err
    assert "max.message.bytes" in done.err


@pytest.mark.parametrize(
    "arguments",
    [["-p", "keep"], ["-p", "x"], ["-i", "jsonl", "-k", ":"], ["-H", "novalue"], ["-z", "brotli"]],
)
def test_what_cannot_be_meant(run_offline: Run, arguments: list[str]) -> None:
    run_offline("produce", "t", *arguments, code=2)


@pytest.mark.odradek(config={"auto.create.topics.enable": False})
def test_a_missing_topic_that_is_not_made_by_itself_says_what_to_type(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout_ms", 500)
    assert run("produce", "nowhere", stdin=b"x\n", code=3).err.splitlines() == [
        "error: there is no topic nowhere, and the broker does not make topics by itself "
        "(auto.create.topics.enable)",
        "       `odradek topic create nowhere` makes it.",
    ]


def test_a_transaction_is_written_as_a_whole_or_not_at_all(run: Run, odradek_topic: str) -> None:
    options = ("--transactional-id", odradek_topic, "-i", "jsonl")
    run("produce", odradek_topic, *options, stdin=b'{"value": "a"}\n{"value": "b"}\n')
    failed = run("produce", odradek_topic, *options, stdin=b'{"value": "c"}\nnonsense\n', code=1).err
    assert "line 2" in failed
    assert "Nothing was written" in failed
    assert run("consume", odradek_topic, "-e", "--isolation", "read_committed").out == "a\nb\n"
    assert "needs --acks all" in run("produce", odradek_topic, *options, "-a", "1", code=2).err
