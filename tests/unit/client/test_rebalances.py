import asyncio

import pytest

from odradek.client.client import Client
from odradek.client.rebalances import RebalanceInfo, describe_rebalances
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.describe_rebalances import (
    DescribeRebalancesRequest,
    DescribeRebalancesResponse,
    Rebalance,
    RebalancedGroup,
)
from tests.unit.client.fake import FakeBroker

DESCRIBE_REBALANCES = 10_000


def test_causes_come_in_their_order() -> None:
    def answer(request: DescribeRebalancesRequest) -> DescribeRebalancesResponse:
        entries = [Rebalance(5, 1, "joined", "m", "c", ""), Rebalance(6, 2, "topics", "", "", "t")]
        return DescribeRebalancesResponse(groups=[RebalancedGroup(group_id="g", rebalances=entries)])

    async def scenario() -> None:
        async with (
            FakeBroker(answers={DESCRIBE_REBALANCES: answer}) as broker,
            Client(broker.address) as client,
        ):
            assert await describe_rebalances(client, "g") == [
                RebalanceInfo(5, 1, "joined", "m", "c", ""),
                RebalanceInfo(6, 2, "topics", "", "", "t"),
            ]

    asyncio.run(scenario())


def test_other_brokers_do_not_tell() -> None:
    async def scenario() -> None:
        async with FakeBroker() as broker, Client(broker.address) as client:
            assert await describe_rebalances(client, "g") is None

    asyncio.run(scenario())


def test_a_refusal_is_raised() -> None:
    def answer(request: DescribeRebalancesRequest) -> DescribeRebalancesResponse:
        group = RebalancedGroup(group_id="g", error_code=ErrorCode.GROUP_ID_NOT_FOUND)
        return DescribeRebalancesResponse(groups=[group])

    async def scenario() -> None:
        async with (
            FakeBroker(answers={DESCRIBE_REBALANCES: answer}) as broker,
            Client(broker.address) as client,
        ):
            with pytest.raises(ApiError, match="there is no group g"):
                await describe_rebalances(client, "g")

    asyncio.run(scenario())
