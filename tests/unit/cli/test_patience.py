"""What is said while something is tried again: each cause once, lasting ones at once."""

import pytest

from odradek.cli.patience import Patience
from odradek.client.client import Client
from odradek.client.errors import ConnectError
from odradek.core.errors import ApiError, DamageError, ErrorCode, OdradekError
from odradek.testing import Broker
from tests.unit.cli.conftest import Run

NO_LEADER = ApiError(ErrorCode.LEADER_NOT_AVAILABLE, "t-0 has no leader")
OFFLINE = ApiError(ErrorCode.KAFKA_STORAGE_ERROR, "t-0 is offline")


@pytest.mark.parametrize(
    ("error", "at_s", "lines"),
    [
        (OFFLINE, [0], ["waiting: t-0 is offline (KAFKA_STORAGE_ERROR)"]),
        (OFFLINE, [0, 1, 2, 20], ["waiting: t-0 is offline (KAFKA_STORAGE_ERROR)"]),
        (NO_LEADER, [0, 0.5], []),
        (NO_LEADER, [0, 0.5, 1], ["waiting: t-0 has no leader (LEADER_NOT_AVAILABLE)"]),
        (NO_LEADER, [0, 0.5, 100, 100.5], []),
        (
            ConnectError("nobody listens", "Start it."),
            [0, 1],
            ["waiting: nobody listens", "         Start it."],
        ),
    ],
)
def test_what_is_said_when(
    capfd: pytest.CaptureFixture[str], error: OdradekError, at_s: list[float], lines: list[str]
) -> None:
    times = iter(at_s)
    patience = Patience(lambda: next(times))
    for _ in at_s:
        patience(error)
    said = [line for line in capfd.readouterr().err.splitlines() if "cluster health" not in line]
    assert said == lines


def test_reading_an_offline_partition_says_so(run_offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker() as broker:
        where = ("-b", broker.bootstrap_servers)
        broker.create_topic("t", partitions=2)
        running = broker._running
        assert running is not None
        partition = running.node.server.broker.topics.by_name["t"].partitions[1]

        async def harm() -> None:
            partition.log.go_offline(DamageError("/data/t-1/0.log", 7, "planted"))

        running.run(harm())
        monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout_ms", 300)
        said = run_offline("consume", "t", *where, code=1).err.splitlines()
        assert said[0].startswith("waiting: t-1 is offline")
        assert "cluster health" in said[1]
        assert said[2].startswith("error: t-1 is offline")
        assert run_offline("consume", "t", "-p", "0", "-e", *where).err == ""
