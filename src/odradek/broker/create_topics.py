"""CreateTopics: makes topics, each on its own, all in one atomic entry of the metadata log.

v2 validate only (KIP-4), v3 throttling, v4 -1 for the broker's default partitions and replicas (KIP-464), v5
what was made comes back (KIP-525), flexible, v6 throttling quota (KIP-599), v7 topic ids (KIP-516).
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import CreatedTopic, NewTopic, broker_layers, create_topics
from odradek.core.config.describe import describe_topic
from odradek.core.config.layers import BrokerLayers
from odradek.core.errors import ApiError, ErrorCode
from odradek.protocol.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_WITH_CONFIGS_FROM_VERSION = 5
_STRICT_QUOTA_FROM_VERSION = 6


def handle(
    broker: "Broker", request: CreateTopicsRequest, context: RequestContext
) -> CreateTopicsResponse | Wait:
    asked = Counter(topic.name for topic in request.topics)
    topics = [_new_topic(topic) for topic in request.topics if asked[topic.name] == 1]
    image = broker.metadata.proposed
    change = create_topics(image, topics, broker.config, broker.randomness)
    refused = _over_quota(broker, context, change.result)
    if refused:
        topics = [topic for topic in topics if topic.name not in refused]
        change = create_topics(image, topics, broker.config, broker.randomness)
    layers = (
        broker_layers(image, broker.config) if context.api_version >= _WITH_CONFIGS_FROM_VERSION else None
    )
    results = []
    for name, count in asked.items():
        if count > 1:
            results.append(_refusal(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        else:
            results.append(_result(name, refused.get(name) or change.result[name], layers))
    response = CreateTopicsResponse(topics=results)
    if request.validate_only:
        return response
    return broker.commit_metadata(change, lambda image: response)


def _over_quota(
    broker: "Broker", context: RequestContext, made: Mapping[str, CreatedTopic | ApiError]
) -> dict[str, ApiError]:
    """The topics for which the client's quota does not suffice, each with its error (KIP-599)."""
    is_strict = context.api_version >= _STRICT_QUOTA_FROM_VERSION
    refused = {}
    for name, topic in made.items():
        if not isinstance(topic, ApiError):
            error = broker.quotas.admit_mutations(context, topic.partitions, is_strict=is_strict)
            if error is not None:
                refused[name] = error
    return refused


def _new_topic(topic: CreatableTopic) -> NewTopic:
    return NewTopic(
        topic.name,
        topic.num_partitions,
        topic.replication_factor,
        [(assignment.partition_index, assignment.broker_ids) for assignment in topic.assignments],
        [(config.name, config.value) for config in topic.configs],
    )


def _result(name: str, made: CreatedTopic | ApiError, layers: BrokerLayers | None) -> CreatableTopicResult:
    if isinstance(made, ApiError):
        return _refusal(name, made.code, made.message)
    result = CreatableTopicResult(
        name=name,
        topic_id=made.topic_id,
        error_message=None,
        num_partitions=made.partitions,
        replication_factor=made.replication_factor,
    )
    if layers is not None:
        result.configs = [
            CreatableTopicConfigs(
                name=entry.name,
                value=entry.value,
                read_only=entry.is_read_only,
                config_source=entry.source,
                is_sensitive=entry.is_sensitive,
            )
            for entry in describe_topic(layers, made.configs, None)
        ]
    return result


def _refusal(name: str, code: ErrorCode, message: str | None) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=code, error_message=message)


def refuse(request: CreateTopicsRequest, code: ErrorCode, message: str | None) -> CreateTopicsResponse:
    """``code`` for every topic asked for."""
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreateTopicsResponse(topics=[_refusal(name, code, message) for name in names])
