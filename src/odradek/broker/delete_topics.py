"""DeleteTopics: by name, or by id; the answer comes when the deletion is durable.

v1 throttling, v3 TOPIC_DELETION_DISABLED (KIP-322), v4 flexible, v5 error messages (KIP-599), v6 by topic
id (KIP-516).
"""

from collections import Counter
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import delete_topics
from odradek.cluster.image import ClusterImage
from odradek.core.errors import ApiError, ErrorCode
from odradek.core.ids import ZERO_ID, TopicId
from odradek.protocol.generated.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_DISABLED_FROM_VERSION = 3
_STATES_FROM_VERSION = 6
_STRICT_QUOTA_FROM_VERSION = 5

UNKNOWN_NAME = "This server does not host this topic-partition."
UNKNOWN_ID = "This server does not host this topic ID."


def handle(
    broker: "Broker", request: DeleteTopicsRequest, context: RequestContext
) -> DeleteTopicsResponse | Wait:
    if not broker.config.delete_topic_enable:
        is_named = context.api_version >= _DISABLED_FROM_VERSION
        code = ErrorCode.TOPIC_DELETION_DISABLED if is_named else ErrorCode.INVALID_REQUEST
        raise ApiError(code, "Topic deletion is disabled.")
    if context.api_version >= _STATES_FROM_VERSION:
        states = request.topics
    else:
        states = [DeleteTopicState(name=name) for name in request.topic_names]
    image = broker.metadata.proposed
    wanted, results = _resolve(states, image)
    is_strict = context.api_version >= _STRICT_QUOTA_FROM_VERSION
    for topic_id, name in list(wanted.items()):
        known = image.topics_by_id.get(topic_id)
        count = len(known.partitions) if known is not None else 0
        error = broker.quotas.admit_mutations(context, count, is_strict=is_strict)
        if error is not None:
            del wanted[topic_id]
            results.append(_refusal(name, topic_id, error.code, error.message))
    change = delete_topics(image, list(wanted))
    for topic_id, name in wanted.items():
        topic = change.result[topic_id]
        if isinstance(topic, ApiError):
            results.append(_refusal(name, topic_id, topic.code, UNKNOWN_ID))
        else:
            results.append(DeletableTopicResult(name=topic.name, topic_id=topic_id))
    response = DeleteTopicsResponse(responses=results)
    return broker.commit_metadata(change, lambda image: response)


def _resolve(
    states: list[DeleteTopicState], image: ClusterImage
) -> tuple[dict[TopicId, str | None], list[DeletableTopicResult]]:
    """Ids to delete, each with the name it was asked by; and the results of what cannot be tried."""
    by_name = Counter(state.name for state in states if state.name is not None and state.topic_id == ZERO_ID)
    by_id = Counter(state.topic_id for state in states if state.name is None and state.topic_id != ZERO_ID)
    wanted: dict[TopicId, str | None] = {}
    results = []
    for state in states:
        if state.name is not None and state.topic_id != ZERO_ID:
            reason = "You may not specify both topic name and topic id."
            results.append(_refusal(state.name, state.topic_id, ErrorCode.INVALID_REQUEST, reason))
        elif state.name is None and state.topic_id == ZERO_ID:
            reason = "Neither topic name nor id were specified."
            results.append(_refusal(None, ZERO_ID, ErrorCode.INVALID_REQUEST, reason))
    for topic_id, count in by_id.items():
        if count > 1:
            results.append(_refusal(None, topic_id, ErrorCode.INVALID_REQUEST, "Duplicate topic id."))
        else:
            wanted[topic_id] = None
    for name, count in by_name.items():
        topic = image.topics.get(name)
        if count > 1:
            results.append(_refusal(name, ZERO_ID, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        elif topic is None:
            results.append(_refusal(name, ZERO_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_NAME))
        elif topic.topic_id in by_id:
            reason = "The provided topic name maps to an ID that was already supplied."
            results.append(_refusal(name, topic.topic_id, ErrorCode.INVALID_REQUEST, reason))
            wanted.pop(topic.topic_id, None)
        else:
            wanted[topic.topic_id] = name
    return wanted, results


def _refusal(
    name: str | None, topic_id: TopicId, code: ErrorCode, message: str | None
) -> DeletableTopicResult:
    return DeletableTopicResult(name=name, topic_id=topic_id, error_code=code, error_message=message)


def refuse(request: DeleteTopicsRequest, code: ErrorCode, message: str | None) -> DeleteTopicsResponse:
    """``code`` for every topic asked for."""
    asked = [(name, ZERO_ID) for name in request.topic_names]
    asked += [(state.name, state.topic_id) for state in request.topics]  # type: ignore[misc]
    return DeleteTopicsResponse(responses=[_refusal(*topic, code, message) for topic in asked])
