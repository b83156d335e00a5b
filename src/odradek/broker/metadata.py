"""Metadata: who the brokers are, which topics there are, who leads what.

v1 null asks for all topics, v4 may forbid auto-creation (KIP-204), v7 leader epochs (KIP-320), v8 authorized
operations (KIP-430), v9 flexible, v10 topic ids (KIP-516), v11 leaves the cluster's operations to
DescribeCluster (KIP-700), v12 asks by topic id, v13 a top-level error (KIP-1102).
"""

from typing import TYPE_CHECKING

from odradek.broker import authorized_operations
from odradek.broker.endpoints import advertised_endpoint
from odradek.broker.partitions import INTERNAL_TOPICS
from odradek.broker.requests import RequestContext, Wait
from odradek.cluster.controller import auto_create_topics
from odradek.cluster.image import ClusterImage, TopicImage
from odradek.cluster.names import invalid_name_reason
from odradek.core.errors import ErrorCode
from odradek.core.ids import ZERO_ID
from odradek.protocol.generated.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

if TYPE_CHECKING:
    from odradek.broker.broker import Broker

_NULL_IS_ALL_FROM_VERSION = 1


def handle(broker: "Broker", request: MetadataRequest, context: RequestContext) -> MetadataResponse | Wait:
    missing = _to_create(broker, request)
    if not missing:
        return _describe(broker, broker.image, request, context, {})
    change = auto_create_topics(broker.metadata.proposed, missing, broker.config, broker.randomness)
    return broker.commit_metadata(
        change, lambda image: _describe(broker, image, request, context, change.result)
    )


def _to_create(broker: "Broker", request: MetadataRequest) -> list[str]:
    """Names that are asked for, are not there, and may be made by asking."""
    if not request.topics or not request.allow_auto_topic_creation:
        return []
    if not broker.config.auto_create_topics_enable:
        return []
    present = broker.image.topics
    names = (topic.name for topic in request.topics if topic.topic_id == ZERO_ID)
    return list(dict.fromkeys(name for name in names if name is not None and name not in present))


def _describe(
    broker: "Broker",
    image: ClusterImage,
    request: MetadataRequest,
    context: RequestContext,
    refused: dict[str, ErrorCode],
) -> MetadataResponse:
    host, port = advertised_endpoint(broker.config, context.session)
    response = MetadataResponse(
        brokers=[
            MetadataResponseBroker(
                node_id=broker.node_id, host=host, port=port, rack=broker.config.broker_rack
            )
        ],
        cluster_id=image.cluster_id,
        controller_id=broker.node_id,
        topics=[],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = authorized_operations.CLUSTER
    with_operations = request.include_topic_authorized_operations
    asked = request.topics
    if asked is None or (not asked and context.api_version < _NULL_IS_ALL_FROM_VERSION):
        response.topics = [_topic(broker, topic, with_operations) for topic in image.topics.values()]
        return response
    seen = set()
    for topic in asked:
        key = topic.topic_id if topic.topic_id != ZERO_ID else topic.name
        if key not in seen:
            seen.add(key)
            response.topics.append(_asked_topic(broker, image, topic, with_operations, refused))
    return response


def _asked_topic(
    broker: "Broker",
    image: ClusterImage,
    asked: MetadataRequestTopic,
    with_operations: bool,
    refused: dict[str, ErrorCode],
) -> MetadataResponseTopic:
    if asked.topic_id != ZERO_ID:
        by_id = image.topics_by_id.get(asked.topic_id)
        if by_id is None:
            # Null where the request may say so, too; before v12 neither can.
            return _missing_topic(asked.name, asked.topic_id, ErrorCode.UNKNOWN_TOPIC_ID)
        return _topic(broker, by_id, with_operations)
    name = asked.name
    topic = image.topics.get(name) if name is not None else None
    if name is None or topic is None:
        code = refused.get(name or "")
        if code is None:
            is_valid = name is not None and invalid_name_reason(name) is None
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if is_valid else ErrorCode.INVALID_TOPIC_EXCEPTION
        return _missing_topic(name, ZERO_ID, code)
    return _topic(broker, topic, with_operations)


def _missing_topic(name: str | None, topic_id: bytes, code: ErrorCode) -> MetadataResponseTopic:
    is_internal = name in INTERNAL_TOPICS
    return MetadataResponseTopic(
        error_code=code, name=name, topic_id=topic_id, is_internal=is_internal, partitions=[]
    )


def _topic(broker: "Broker", topic: TopicImage, with_operations: bool) -> MetadataResponseTopic:
    described = MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            MetadataResponsePartition(
                partition_index=index,
                leader_id=partition.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                offline_replicas=[],
            )
            for index, partition in enumerate(topic.partitions)
        ],
    )
    for index, code in broker.topics.leaderless(topic.name):
        described.partitions[index].error_code = code
        if code is ErrorCode.KAFKA_STORAGE_ERROR:
            # One that is only recovered has a leader's name: without one librdkafka would take the partition
            # for unknown until it asks again, minutes later.
            described.partitions[index].leader_id = -1
            described.partitions[index].offline_replicas = [broker.node_id]
    if with_operations:
        described.topic_authorized_operations = authorized_operations.TOPIC
    return described


def refuse(request: MetadataRequest, code: ErrorCode, message: str | None) -> MetadataResponse:
    """``code`` at the top (v13) and for every topic asked for."""
    return MetadataResponse(
        error_code=code,
        brokers=[],
        topics=[_missing_topic(topic.name, topic.topic_id, code) for topic in request.topics or ()],
    )
