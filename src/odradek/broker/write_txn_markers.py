"""WriteTxnMarkers: writes the ends of transactions into partitions, whatever their coordinator says.

Brokers send it for transactions that they coordinate, and administrators to end one that hangs (KIP-664: only
for that, it is the one way to break a transaction in half). v1 flexible, v2 the transaction version, from
which on late markers can be told (KIP-1228).
"""

from typing import TYPE_CHECKING

from odradek.broker.markers import Marker, Written, write_marker
from odradek.broker.requests import RequestContext, Wait
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.write_txn_markers import (
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_NOT_READY = frozenset(
    {
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""What a coordinator of transactions does not expect of a partition; it tries again on another error."""


def handle(
    broker: "Broker", request: WriteTxnMarkersRequest, context: RequestContext
) -> Wait | WriteTxnMarkersResponse:
    response = _response(request, ErrorCode.NONE)
    missing = sum(len(topic.partitions) for marker in response.markers for topic in marker.topics)
    if not missing:
        return response
    wait = Wait()

    def told(result: WritableTxnMarkerPartitionResult) -> Written:
        def written(code: ErrorCode) -> None:
            nonlocal missing
            result.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER if code in _NOT_READY else code
            missing -= 1
            if not missing:
                wait.complete(response)

        return written

    for asked, results in zip(request.markers, response.markers, strict=True):
        marker = Marker(
            asked.producer_id,
            asked.producer_epoch,
            asked.transaction_result,
            asked.coordinator_epoch,
            asked.transaction_version,
        )
        for topic in results.topics:
            for partition in topic.partitions:
                if asked.producer_id < 0 or asked.producer_epoch < 0:
                    told(partition)(ErrorCode.INVALID_REQUEST)  # it would end nobody's transaction
                else:
                    write_marker(broker, topic.name, partition.partition_index, marker, told(partition))
    return wait


def _response(request: WriteTxnMarkersRequest, code: ErrorCode) -> WriteTxnMarkersResponse:
    return WriteTxnMarkersResponse(
        markers=[
            WritableTxnMarkerResult(
                producer_id=marker.producer_id,
                topics=[
                    WritableTxnMarkerTopicResult(
                        name=topic.name,
                        partitions=[
                            WritableTxnMarkerPartitionResult(partition_index=index, error_code=code)
                            for index in topic.partition_indexes
                        ],
                    )
                    for topic in marker.topics
                ],
            )
            for marker in request.markers
        ]
    )


def refuse(request: WriteTxnMarkersRequest, code: ErrorCode, message: str | None) -> WriteTxnMarkersResponse:
    """``code`` for every partition of every marker."""
    return _response(request, code)
