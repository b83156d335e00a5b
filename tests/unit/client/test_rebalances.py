import asyncio

import pytest

from odradek.client.client import Client
from odradek.client.rebalances import REBALANCES_KEY, RebalanceInfo, describe_rebalances
from odradek.coordinator import rebalances
from odradek.core.errors import ApiError, ErrorCode, OdradekError, PeerError
from odradek.protocol.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from tests.unit.client.fake import FakeBroker

DESCRIBE_CONFIGS = 32


def described(value: str | None, code: ErrorCode = ErrorCode.NONE) -> list[RebalanceInfo] | None:
    """What comes of the config's value; ``None`` for a broker that does not have the config."""

    def answer(request: DescribeConfigsRequest) -> DescribeConfigsResponse:
        (resource,) = request.resources
        assert (resource.resource_type, resource.configuration_keys) == (32, [REBALANCES_KEY])
        configs = [DescribeConfigsResourceResult(name=REBALANCES_KEY, value=value)] if value else []
        return DescribeConfigsResponse(results=[DescribeConfigsResult(error_code=code, configs=configs)])

    async def scenario() -> list[RebalanceInfo] | None:
        answers = {DESCRIBE_CONFIGS: answer}
        async with FakeBroker(answers=answers) as broker, Client(broker.address) as client:
            return await describe_rebalances(client, "g")

    return asyncio.run(scenario())


def test_what_the_coordinator_writes_is_read() -> None:
    assert REBALANCES_KEY == rebalances.REBALANCES_KEY
    kept = rebalances.Rebalances()
    kept.note(rebalances.Rebalance(5, 1, rebalances.Cause.JOINED, "m", "c", "new here"))
    kept.note(rebalances.Rebalance(6, 2, rebalances.Cause.TOPICS))
    assert described(kept.to_json()) == [
        RebalanceInfo(5, 1, "joined", "m", "c", "new here"),
        RebalanceInfo(6, 2, "topics changed", "", "", ""),
    ]


def test_other_brokers_do_not_tell() -> None:
    assert described(None) is None
    assert described(None, ErrorCode.INVALID_REQUEST) is None
    assert described(None, ErrorCode.GROUP_AUTHORIZATION_FAILED) is None


@pytest.mark.parametrize(
    ("value", "code", "raised"),
    [
        (None, ErrorCode.UNKNOWN_SERVER_ERROR, ApiError),
        ("nonsense", ErrorCode.NONE, PeerError),
        ('[{"time_ms": 5}]', ErrorCode.NONE, PeerError),
        ("5", ErrorCode.NONE, PeerError),
    ],
)
def test_what_is_no_answer(value: str | None, code: ErrorCode, raised: type[OdradekError]) -> None:
    with pytest.raises(raised):
        described(value, code)
