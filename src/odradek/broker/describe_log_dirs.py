"""DescribeLogDirs: the data folder and the bytes of each partition in it (KIP-113).

v1 throttling, v2 flexible, v3 a top-level error, v4 the volume's size (KIP-827), v5 cordoned folders
(KIP-1066).
"""

import os.path
from typing import TYPE_CHECKING

from odradek.broker.partitions import Topic
from odradek.broker.requests import RequestContext
from odradek.core.errors import ErrorCode
from odradek.protocol.generated.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


def handle(
    broker: "Broker", request: DescribeLogDirsRequest, context: RequestContext
) -> DescribeLogDirsResponse:
    topics = broker.topics.by_name
    described = []
    if request.topics is None:
        described = [_topic(topic, None) for topic in topics.values()]
    else:
        wanted: dict[str, set[int]] = {}
        for asked in request.topics:
            wanted.setdefault(asked.topic, set()).update(asked.partitions)
        described = [_topic(topics[name], indexes) for name, indexes in wanted.items() if name in topics]
    total_bytes, usable_bytes = broker.store.disk.space(broker.store.folder)
    return DescribeLogDirsResponse(
        results=[
            DescribeLogDirsResult(
                total_bytes=total_bytes,
                usable_bytes=usable_bytes,
                log_dir=os.path.abspath(broker.store.folder),
                topics=[topic for topic in described if topic.partitions],
            )
        ]
    )


def _topic(topic: Topic, indexes: set[int] | None) -> DescribeLogDirsTopic:
    return DescribeLogDirsTopic(
        name=topic.name,
        partitions=[
            DescribeLogDirsPartition(partition_index=partition.index, partition_size=partition.log.size)
            for partition in topic.partitions
            if indexes is None or partition.index in indexes
        ],
    )


def refuse(request: DescribeLogDirsRequest, code: ErrorCode, message: str | None) -> DescribeLogDirsResponse:
    """``code`` at the top."""
    return DescribeLogDirsResponse(error_code=code, results=[])
