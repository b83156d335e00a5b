"""The installed ``odradek`` command, each run a process of its own, against a broker process."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.kafka_process import KafkaProcess
from tests.support.broker_process import PROGRAM, BrokerProcess

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(bootstrap: str, **more: str) -> dict[str, str]:
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "ODRADEK_BOOTSTRAP": bootstrap, "PATH": path, **more}


@pytest.fixture(scope="module", autouse=True)
def _byte_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lets the many short processes compile once, also where writing byte code is turned off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("byte-code")))
        yield


@pytest.fixture
def odradek(bootstrap: str) -> Run:
    """``odradek("topic", "list", stdin="", code=0)``."""

    def run(*arguments: str, stdin: str = "", code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            input=stdin,
            env=environment(bootstrap),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done
        return done

    return run


def documented() -> list[str]:
    commands = re.findall(r"^\$ (.+)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) > 20
    return commands


def run_documented(commands: list[str], variables: dict[str, str]) -> None:
    for command in commands:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        if command.partition(" || ")[0].endswith("-o json"):
            json.loads(done.stdout)


def test_the_documented_commands_work_as_they_stand(own_broker: BrokerProcess) -> None:
    run_documented(documented(), environment(own_broker.bootstrap, DATA=str(own_broker.data)))


@pytest.mark.java
@pytest.mark.slow
def test_the_documented_commands_work_on_apache_kafka_too(tmp_path: Path) -> None:
    """All but those about files and loggers of our own."""
    commands = [command for command in documented() if "$DATA" not in command and "logger" not in command]
    process = KafkaProcess(tmp_path)
    process.format()
    process.start()
    try:
        run_documented(commands, environment(process.bootstrap))
    finally:
        process.stop(cleanly=False)


def test_many_lines_go_through_unchanged(odradek: Run, name: str) -> None:
    odradek("topic", "create", name, "-p", "4")
    text = "".join(f"k{number % 97}:line {number} {'x' * (number % 50)}\n" for number in range(100_000))
    summary = json.loads(odradek("produce", name, "-k", ":", "-z", "lz4", "-o", "json", stdin=text).stdout)
    assert summary["records"] == 100_000
    out = odradek("consume", name, "-e", "-f", r"%k:%v\n").stdout
    assert sorted(out.splitlines()) == sorted(text.splitlines())
    by_key = [line for line in text.splitlines() if line.startswith("k5:")]
    assert [line for line in out.splitlines() if line.startswith("k5:")] == by_key


def test_two_readers_of_a_group_share_and_hand_over(odradek: Run, bootstrap: str, name: str) -> None:
    odradek("topic", "create", name, "-p", "2")

    def reader() -> "subprocess.Popen[str]":
        command = [str(PROGRAM), "consume", name, "-g", f"{name}-g", "-f", r"%p %v\n"]
        return subprocess.Popen(
            command, env=environment(bootstrap), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def members() -> list[int]:
        done = subprocess.run(
            [str(PROGRAM), "group", "describe", f"{name}-g", "-o", "json"],
            env=environment(bootstrap),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return []
        (group,) = json.loads(done.stdout)
        return (
            sorted(len(member["assignment"]) for member in group["members"])
            if group["state"] == "Stable"
            else []
        )

    def wait_for(expected: list[int]) -> None:
        deadline = time.monotonic() + 90
        while members() != expected:
            assert time.monotonic() < deadline, f"{members()} is not {expected}"
            time.sleep(0.1)

    one = reader()
    wait_for([2])
    other = reader()
    wait_for([1, 1])
    for partition in ("0", "1"):
        odradek("produce", name, "-p", partition, stdin="shared\n")
    one.send_signal(signal.SIGTERM)
    out_one, _ = one.communicate(timeout=90)
    assert one.returncode == 143
    wait_for([2])
    odradek("produce", name, "-p", "0", stdin="after\n")
    odradek("produce", name, "-p", "1", stdin="after\n")
    deadline = time.monotonic() + 90
    while json.loads(odradek("group", "describe", f"{name}-g", "-o", "json").stdout)[0]["lag"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    other.send_signal(signal.SIGINT)
    out_other, _ = other.communicate(timeout=90)
    assert other.returncode == 130
    everything = sorted((out_one + out_other).splitlines())
    assert everything == ["0 after", "0 shared", "1 after", "1 shared"]
    assert members() == []


def test_the_broker_says_hello_and_goodbye(tmp_path: Path) -> None:
    command = [str(PROGRAM), "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        address = first.split()[-1]
        assert re.fullmatch(r"127\.0\.0\.1:\d+", address), first
        assert str(tmp_path / "data") in process.stderr.readline()
        assert f"-b {address}" in process.stderr.readline()
        second = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert second.returncode == 1
        assert second.stderr.startswith("error: ")
        assert str(process.pid) in second.stderr
        process.terminate()  # how soon it has to be gone: test_promises.py
        assert process.wait(60) == 0


def test_a_ready_file_is_there_while_clients_can_connect(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data").start()
    (ready,) = tmp_path.glob("*.ready")
    assert json.loads(ready.read_text())["pid"] == broker.pid
    assert broker.stop() == 0
    assert not ready.exists()


def test_an_ephemeral_broker_leaves_nothing(tmp_path: Path) -> None:
    command = [str(PROGRAM), "serve", "--ephemeral", "--listen", "127.0.0.1:0"]
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        sent = subprocess.run(
            [str(PROGRAM), "produce", "t"],
            input="a\n",
            env=environment(address),
            text=True,
            timeout=90,
            check=False,
        )
        assert sent.returncode == 0
        assert list(tmp_path.iterdir())
        process.terminate()
        assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_the_names_of_topics(odradek: Run, bootstrap: str, name: str) -> None:
    odradek("topic", "create", name)
    script = (
        'eval "$(odradek completion bash)"; '
        f"COMP_WORDS=(odradek consume {name[:-2]}); COMP_CWORD=2; "
        '_odradek_completion odradek; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment(bootstrap),
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert done.stdout.split() == [name]


def test_tables_are_drawn_on_a_terminal_and_plain_elsewhere(odradek: Run, bootstrap: str, name: str) -> None:
    odradek("topic", "create", name)
    plain = odradek("topic", "list", "-r", name).stdout
    assert plain.splitlines()[0].split() == ["TOPIC", "PARTITIONS", "REPLICAS"]
    if shutil.which("script") is None:
        pytest.skip("needs script(1) for a terminal")
    for no_color in ("", "1"):
        drawn = subprocess.run(
            ["script", "-qec", f"{PROGRAM} topic list -r {name}", "/dev/null"],
            env=environment(bootstrap, NO_COLOR=no_color, TERM="xterm"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        ).stdout
        assert name in drawn
        assert "─" in drawn
