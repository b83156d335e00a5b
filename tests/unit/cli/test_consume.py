import json

import pytest
import yaml

from odradek.testing import Broker
from tests.unit.cli.conftest import Run

FIRST_MS = 1_700_000_000_000


@pytest.fixture
def topic(run: Run, odradek_topic: str) -> str:
    """Ten records v0 to v9, a second apart."""
    lines = [
        json.dumps({"key": f"k{n}", "value": f"v{n}", "timestamp": FIRST_MS + 1000 * n}) for n in range(10)
    ]
    run("produce", odradek_topic, "-i", "jsonl", stdin="\n".join(lines).encode())
    return odradek_topic


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-e"], "0123456789"),
        (["-s", "7", "-e"], "789"),
        (["--from", "+8", "-e"], "89"),
        (["--from", "-2", "-e"], "89"),
        (["-s", "end", "-e"], ""),
        (["-s", f"@{FIRST_MS + 6500}", "-e"], "789"),
        (["-s", "@2100-01-01", "-e"], ""),
        (["-s", "@1h", "-e"], ""),
        (["-u", "3"], "012"),
        (["-s", "2", "-u", "-5"], "234"),
        (["-u", f"@{FIRST_MS + 1000}"], "0"),
        (["-n", "4"], "0123"),
        (["-s", "99", "-e"], ""),
        (["-p", "0", "-e", "-n", "1"], "0"),
    ],
)
def test_from_where_to_where(run: Run, topic: str, arguments: list[str], expected: str) -> None:
    assert run("consume", topic, *arguments, "-f", "%v").out == "".join(f"v{digit}" for digit in expected)


def test_outputs(run: Run, topic: str) -> None:
    assert run("consume", topic, "-n", 2).out == "v0\nv1\n"
    record = {
        "topic": topic,
        "partition": 0,
        "offset": 9,
        "timestamp": FIRST_MS + 9000,
        "key": "k9",
        "value": "v9",
        "headers": [],
    }
    last = ["consume", topic, "-s", "-1", "-e", "-o"]
    assert json.loads(run(*last, "jsonl").out) == record
    assert run(*last, "json").json == [record]
    assert yaml.safe_load(run(*last, "yaml").out) == [record]
    assert run(*last, "table").out.split()[-2:] == ["k9", "v9"]
    assert (
        run("consume", topic, "-f", r"%t %p %o %k=%v %T\n", "-n", 1).out == f"{topic} 0 0 k0=v0 {FIRST_MS}\n"
    )


@pytest.mark.parametrize(("output", "expected"), [("json", []), ("yaml", [])])
def test_no_records_are_an_empty_list(run: Run, odradek_topic: str, output: str, expected: list[str]) -> None:
    assert yaml.safe_load(run("consume", odradek_topic, "-e", "-o", output).out) == expected


def test_a_group_goes_on_where_it_stopped(run: Run, topic: str) -> None:
    group = f"{topic}-group"
    assert run("consume", topic, "-g", group, "-n", 3, "-f", "%v").out == "v0v1v2"
    assert run("consume", topic, "-g", group, "-n", 3, "-f", "%v").out == "v3v4v5"
    assert run("consume", topic, "-g", group, "-e", "-f", "%v").out == "v6v7v8v9"
    assert run("consume", topic, "-g", group, "-e").out == ""
    late = run("consume", topic, "-g", f"{group}-late", "--from", "end", "-e")
    assert late.out == ""


def test_what_is_not_there(run: Run, topic: str) -> None:
    assert "there is no topic nowhere" in run("consume", "nowhere", "-e", code=3).err
    assert "there is no 5" in run("consume", topic, "-p", 5, "-e", code=3).err


@pytest.mark.parametrize(
    "arguments",
    [["--from", "yesterday"], ["-f", "%q"], ["-g", "g", "-p", "0"], ["-g", "g", "-s", "5"], ["-n", "0"]],
)
def test_what_cannot_be_meant(run_offline: Run, arguments: list[str]) -> None:
    run_offline("consume", "t", *arguments, code=2)


def test_a_topic_wider_than_one_partition_is_read_whole(
    run: Run, odradek_broker: Broker, odradek_topic: str
) -> None:
    topic = f"{odradek_topic}-wide"
    odradek_broker.create_topic(topic, partitions=4)
    run("produce", topic, "-k", ":", stdin=b"".join(b"k%d:v\n" % n for n in range(50)))
    found = run("consume", topic, "-e", "-o", "jsonl").out.splitlines()
    assert len(found) == 50
    assert len({json.loads(line)["partition"] for line in found}) == 4
    picked = run("consume", topic, "-e", "-p", 0, "-p", 3, "-o", "jsonl").out.splitlines()
    assert {json.loads(line)["partition"] for line in picked} == {0, 3}
