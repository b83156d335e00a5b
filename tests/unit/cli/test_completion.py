import pytest

from odradek.testing import Broker
from tests.unit.cli.conftest import Run


def complete(run: Run, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What bash would be offered for the last of ``words``."""
    monkeypatch.setenv("_ODRADEK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(("odradek", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    out = run().out
    monkeypatch.delenv("_ODRADEK_COMPLETE")
    return [line.partition(",")[2] for line in out.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(run_offline: Run, shell: str) -> None:
    script = run_offline("completion", shell).out
    assert f"_ODRADEK_COMPLETE={shell}_complete" in script
    assert "odradek" in script


def test_commands_and_options(run_offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete(run_offline, monkeypatch, "to") == ["topic"]
    assert complete(run_offline, monkeypatch, "topic", "cr") == ["create"]
    assert "--output" in complete(run_offline, monkeypatch, "topic", "list", "--ou")


def test_names_come_from_the_broker(
    run: Run, monkeypatch: pytest.MonkeyPatch, odradek_broker: Broker, odradek_topic: str
) -> None:
    group = f"{odradek_topic}-group"
    run("group", "reset", group, "-t", odradek_topic, "--to", "start", "-y")
    assert odradek_topic in complete(run, monkeypatch, "consume", odradek_topic[:-1])
    assert complete(run, monkeypatch, "topic", "describe", odradek_topic) == [odradek_topic]
    assert complete(run, monkeypatch, "group", "describe", group[:-2]) == [group]
    assert complete(run, monkeypatch, "config", "get", "topic", odradek_topic) == [odradek_topic]
    assert complete(run, monkeypatch, "config", "get", "broker", "d") == ["default"]
    assert not any(name.startswith("__") for name in complete(run, monkeypatch, "consume", ""))


def test_without_a_broker_there_are_just_no_names(run_offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODRADEK_BOOTSTRAP", "127.0.0.1:1")
    assert complete(run_offline, monkeypatch, "consume", "x") == []
