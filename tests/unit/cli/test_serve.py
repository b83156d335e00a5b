import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from odradek import app
from odradek.cli.serve import greeting
from odradek.core.config.broker import BrokerConfig
from odradek.core.errors import StartupError
from tests.unit.cli.conftest import Run


class FakeNode:
    bootstrap_servers = "127.0.0.1:9999"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[BrokerConfig]:
    """The configurations that ``app.run`` was called with; it returns at once."""
    configs: list[BrokerConfig] = []

    def run(config: BrokerConfig, *, ready_file: Path | None, on_ready: Any) -> None:
        configs.append(config)
        assert Path(config.log_dir).is_dir() or "odradek-" not in config.log_dir
        on_ready(FakeNode())

    monkeypatch.setattr(app, "run", run)
    return configs


def test_it_says_where_it_listens_where_the_data_is_and_what_to_type(
    run_offline: Run, served: list[BrokerConfig], tmp_path: Path
) -> None:
    done = run_offline("serve", "--data", tmp_path / "d", "--listen", "127.0.0.1:9999")
    assert "listens on 127.0.0.1:9999" in done.err
    assert str(tmp_path / "d") in done.err
    assert "odradek produce greetings -b 127.0.0.1:9999" in done.err
    assert served[0].log_dir == str(tmp_path / "d")
    assert served[0].listeners[0].port == 9999
    assert run_offline("serve", "--quiet", "--data", tmp_path / "d").err == ""


def test_the_port_of_everyone_needs_no_option() -> None:
    assert " -b " not in "".join(greeting("localhost:9092", "data", False))
    assert "gone when this ends" in "".join(greeting("localhost:9092", "data", True))


def test_later_settings_win(
    run_offline: Run, served: list[BrokerConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.properties"
    file.write_text("num.partitions=2\noffset.metadata.max.bytes=1000\nfetch.max.bytes=2000000\n")
    monkeypatch.setenv("KAFKA_OFFSET_METADATA_MAX_BYTES", "3000")
    monkeypatch.setenv("ODRADEK_FETCH_MAX_BYTES", "4000000")
    run_offline("serve", file, "--set", "fetch.max.bytes=5000000")
    config = served[0]
    found = (config.num_partitions, config.offset_metadata_max_bytes, config.fetch_max_bytes)
    assert found == (2, 3000, 5_000_000)


def test_an_ephemeral_broker_leaves_nothing(run_offline: Run, served: list[BrokerConfig]) -> None:
    assert "gone when this ends" in run_offline("serve", "--ephemeral").err
    assert not Path(served[0].log_dir).exists()
    run_offline("serve", "--ephemeral", "--data", "x", code=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "num.partitionz=1"], "num.partitions"),
        (["--set", "num.partitions=x"], "num.partitions"),
        (["--set", "sasl.enabled.mechanisms=SCRAM-SHA-256"], "refused"),
        (["gone.properties"], "cannot read gone.properties"),
        (["--set", "novalue"], "KEY=VALUE"),
        (["a.properties", "--config", "b.properties"], "Two configuration files"),
    ],
)
def test_a_wrong_setting_is_an_error_that_helps(run_offline: Run, arguments: list[str], said: str) -> None:
    assert said in run_offline("serve", *arguments, code=2).err


def test_keys_without_effect_are_said_once(
    run_offline: Run, served: list[BrokerConfig], caplog: pytest.LogCaptureFixture
) -> None:
    run_offline("serve", "--set", "num.io.threads=4")
    assert caplog.text.count("num.io.threads") == 1


def test_a_broker_that_cannot_start_says_why(run_offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise StartupError("the port is taken")

    monkeypatch.setattr(app, "run", run)
    assert run_offline("serve", code=1).err.startswith("error: the port is taken")


def test_a_full_disk_at_start_or_stop_says_what_to_do(
    run_offline: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(app, "run", run)
    done = run_offline("serve", "--data", tmp_path / "d", code=1)
    assert f"the volume of {tmp_path / 'd'} is full: No space left on device" in done.err
    assert "Make room there" in done.err


@pytest.mark.parametrize("host", ["0.0.0.0", "", "[::]"])
def test_listening_on_all_interfaces_is_said(
    run_offline: Run, served: list[BrokerConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    monkeypatch.setattr(FakeNode, "bootstrap_servers", "localhost:9999")
    done = run_offline("serve", "--data", tmp_path / "d", "--listen", f"{host}:9999")
    assert done.err.splitlines()[0].endswith(
        "listens on all interfaces, port 9999 (localhost:9999 from here)"
    )


def test_a_port_in_use_is_said_once_with_what_to_do(run_offline: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        done = run_offline("serve", "--data", tmp_path / "d", "--listen", address, code=1)
    assert done.err.splitlines()[-1] == (
        f"error: cannot listen on {address}: the port is in use; stop the program that holds it, "
        "or choose another with --listen HOST:PORT"
    )


def test_with_hardly_any_descriptors_it_says_so_and_what_to_do(
    run_offline: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda what: (12, 12))
    done = run_offline("serve", "--data", tmp_path / "d", code=1)
    assert done.err == (
        "error: only 12 files may be open here, and no more may be asked for; raise it first, as with"
        " `ulimit -n 65536`\n"
    )
    assert not (tmp_path / "d").exists()
