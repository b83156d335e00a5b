"""CreatePartitions: grows topics, each on its own (KIP-195).

v1 throttling, v2 flexible, v3 throttling quota (KIP-599). Keys map to partitions by their count: growing a
topic moves keys, which is the client's business and not refused.
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import GrownTopic, create_partitions
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_STRICT_QUOTA_FROM_VERSION = 3


def handle(
    broker: "Broker", request: CreatePartitionsRequest, context: RequestContext
) -> CreatePartitionsResponse | Wait:
    asked = Counter(topic.name for topic in request.topics)
    topics = [_grown_topic(topic) for topic in request.topics if asked[topic.name] == 1]
    image = broker.metadata.proposed
    change = create_partitions(image, topics)
    refused: dict[str, ApiError] = {}
    is_strict = context.api_version >= _STRICT_QUOTA_FROM_VERSION
    for topic in topics:
        if change.result[topic.name] is None:
            added = topic.total - len(image.topics[topic.name].partitions)
            over = broker.quotas.admit_mutations(context, added, is_strict=is_strict)
            if over is not None:
                refused[topic.name] = over
    if refused:
        change = create_partitions(image, [topic for topic in topics if topic.name not in refused])
    results = []
    for name, count in asked.items():
        if count > 1:
            results.append(_refusal(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
            continue
        error = refused.get(name) or change.result[name]
        if error is None:
            results.append(CreatePartitionsTopicResult(name=name))
        else:
            results.append(_refusal(name, error.code, error.message))
    response = CreatePartitionsResponse(results=results)
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda image: response)


def _grown_topic(topic: CreatePartitionsTopic) -> GrownTopic:
    assignments = topic.assignments
    replicas = None if assignments is None else [assignment.broker_ids for assignment in assignments]
    return GrownTopic(topic.name, topic.count, replicas)


def _refusal(name: str, code: ErrorCode, message: str | None) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name=name, error_code=code, error_message=message)


def refuse(
    request: CreatePartitionsRequest, code: ErrorCode, message: str | None
) -> CreatePartitionsResponse:
    """``code`` for every topic asked for."""
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreatePartitionsResponse(results=[_refusal(name, code, message) for name in names])
