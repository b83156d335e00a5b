"""Commands on configs: alter in whole (AlterConfigs) and by key (IncrementalAlterConfigs).

Checks and codes: ``ConfigAdminManager`` and ``ConfigurationControlManager`` of Kafka 4.3.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from odradek.cluster.change import Change
from odradek.cluster.image import (
    BROKER_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    ClusterImage,
    ConfigResource,
)
from odradek.cluster.names import invalid_name_reason
from odradek.cluster.records import ConfigChanged, Record
from odradek.core.config.broker import BrokerConfig
from odradek.core.config.dynamic import validate_broker_update
from odradek.core.config.groups import validate_group
from odradek.core.config.keys import Key, broker_keys, group_keys, topic_keys
from odradek.core.config.layers import BrokerLayers, topic_default, validate_topic
from odradek.core.config.values import ConfigError, to_text
from odradek.core.errors import ApiError, ErrorCode

DEFAULT_BROKER: ConfigResource = (BROKER_RESOURCE, "")


class Operation(IntEnum):
    """What IncrementalAlterConfigs does to one key."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Alteration(NamedTuple):
    """One key's change. ``operation`` is the wire's number, which may be none that exists."""

    key: str
    operation: int
    value: str | None


def broker_layers(image: ClusterImage, config: BrokerConfig) -> BrokerLayers:
    """What was said about this broker's configuration, dynamic settings included."""
    own = image.resource_configs((BROKER_RESOURCE, str(config.node_id)))
    return BrokerLayers(own, image.resource_configs(DEFAULT_BROKER), config.static)


def dynamic_texts(image: ClusterImage, config: BrokerConfig) -> dict[str, str]:
    """The dynamic settings that hold for this broker, those of all brokers included."""
    layers = broker_layers(image, config)
    return {**layers.dynamic_default, **layers.dynamic}


def incremental_alter_configs(
    image: ClusterImage,
    resources: Sequence[tuple[ConfigResource, Sequence[Alteration]]],
    config: BrokerConfig,
) -> Change[dict[ConfigResource, ApiError | None]]:
    """Each resource succeeds or fails as a whole, independent of the others. Resources must be distinct."""
    records: list[Record] = []
    results: dict[ConfigResource, ApiError | None] = {}
    layers = broker_layers(image, config)
    for resource, alterations in resources:
        try:
            _check_resource(resource, config)
            _check_alterations(alterations)
            before = _current(image, resource)
            after = _altered(resource, before, alterations, layers)
            _validate(resource, after, layers, config)
            _check_existence(image, resource)
            records += _difference(resource, before, after)
            results[resource] = None
        except ApiError as error:
            results[resource] = error
    return Change(records, results)


def alter_configs(
    image: ClusterImage,
    resources: Sequence[tuple[ConfigResource, Sequence[tuple[str, str | None]]]],
    config: BrokerConfig,
) -> Change[dict[ConfigResource, ApiError | None]]:
    """What is not named goes back to its default. Resources must be distinct."""
    records: list[Record] = []
    results: dict[ConfigResource, ApiError | None] = {}
    layers = broker_layers(image, config)
    for resource, entries in resources:
        try:
            _check_resource(resource, config)
            _check_alterations([Alteration(key, Operation.SET, value) for key, value in entries])
            after = {key: value for key, value in entries if value is not None}
            _validate(resource, after, layers, config)
            _check_existence(image, resource)
            records += _difference(resource, _current(image, resource), after)
            results[resource] = None
        except ApiError as error:
            results[resource] = error
    return Change(records, results)


def _check_resource(resource: ConfigResource, config: BrokerConfig) -> None:
    resource_type, name = resource
    match resource_type:
        case _ if resource_type == TOPIC_RESOURCE:
            if not name:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
            reason = invalid_name_reason(name)
            if reason is not None:
                raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
        case _ if resource_type == BROKER_RESOURCE:
            check_broker_name(name, config, "Node id must be an integer, but it is: ")
        case _ if resource_type == GROUP_RESOURCE:
            if not name:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
        case _ if resource_type in RESOURCE_NAMES:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"{RESOURCE_NAMES[resource_type]} configs are not served by this version of Odradek",
            )
        case _:
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {resource_type}")


def _check_existence(image: ClusterImage, resource: ConfigResource) -> None:
    resource_type, name = resource
    if resource_type == TOPIC_RESOURCE and name not in image.topics:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")


RESOURCE_NAMES = {8: "Broker logger", 16: "Client metrics"}
"""Kinds of resources that are not kept here: log levels last until the next start, and client metrics are not
served yet."""


def check_broker_name(name: str, config: BrokerConfig, not_a_number: str) -> None:
    """A broker resource is this one or, empty, the default of all. Raises :class:`ApiError`."""
    if not name:
        return
    try:
        broker_id = int(name)
    except ValueError:
        raise ApiError(ErrorCode.INVALID_REQUEST, f"{not_a_number}{name}") from None
    if broker_id != config.node_id:
        raise ApiError(
            ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {config.node_id}, but received {name}"
        )


def check_form(alterations: Sequence[Alteration]) -> None:
    """No key twice, none without a value, whatever resource they are of. Raises :class:`ApiError`."""
    keys = [alteration.key for alteration in alterations]
    if len(set(keys)) != len(keys):
        raise ApiError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    nulls = [a.key for a in alterations if a.value is None and a.operation != Operation.DELETE]
    if nulls:
        raise ApiError(ErrorCode.INVALID_REQUEST, f"Null value not supported for : {', '.join(nulls)}")


def _check_alterations(alterations: Sequence[Alteration]) -> None:
    check_form(alterations)
    for alteration in alterations:
        if alteration.operation not in Operation.__members__.values():
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {alteration.operation}")


def _current(image: ClusterImage, resource: ConfigResource) -> Mapping[str, str]:
    if resource[0] == TOPIC_RESOURCE:
        topic = image.topics.get(resource[1])
        return topic.configs if topic is not None else {}
    return image.resource_configs(resource)


def _altered(
    resource: ConfigResource,
    before: Mapping[str, str],
    alterations: Sequence[Alteration],
    layers: BrokerLayers,
) -> dict[str, str]:
    after = dict(before)
    for key, operation, value in alterations:
        if operation == Operation.DELETE:
            after.pop(key, None)
            continue
        assert value is not None
        if operation == Operation.SET:
            after[key] = value
            continue
        definition = _KEYS[resource[0]]().get(key)
        if definition is None or definition.type != "LIST":
            verb = Operation(operation).name
            raise ApiError(
                ErrorCode.INVALID_CONFIG, f"Can't {verb} to key {key} because its type is not LIST."
            )
        elements = _elements(after.get(key, _default_text(resource, definition, layers)))
        changed = value.split(",")
        if operation == Operation.APPEND:
            elements += [element for element in changed if element not in elements]
        else:
            for element in changed:
                if element in elements:
                    elements.remove(element)
        after[key] = ",".join(elements)
    return after


_KEYS = {TOPIC_RESOURCE: topic_keys, BROKER_RESOURCE: broker_keys, GROUP_RESOURCE: group_keys}


def _elements(text: str | None) -> list[str]:
    return [element for element in (text or "").split(",") if element]


def _default_text(resource: ConfigResource, key: Key, layers: BrokerLayers) -> str | None:
    if resource[0] == BROKER_RESOURCE:
        return layers.text(key.name)
    return to_text(key, topic_default(key, layers))


def _validate(
    resource: ConfigResource, values: Mapping[str, str], layers: BrokerLayers, config: BrokerConfig
) -> None:
    try:
        if resource[0] == TOPIC_RESOURCE:
            validate_topic(layers, values)
        elif resource[0] == GROUP_RESOURCE:
            validate_group(layers, values)
        else:
            is_per_broker = bool(resource[1])
            validate_broker_update(values, is_per_broker=is_per_broker)
            others = layers.dynamic_default if is_per_broker else layers.dynamic
            config.check_change({**others, **values} if is_per_broker else {**values, **others})
    except ConfigError as error:
        # Kafka checks brokers' values before they reach its controller, under another code.
        code = ErrorCode.INVALID_REQUEST if resource[0] == BROKER_RESOURCE else ErrorCode.INVALID_CONFIG
        raise ApiError(code, str(error)) from error


def _difference(
    resource: ConfigResource, before: Mapping[str, str], after: Mapping[str, str]
) -> list[Record]:
    resource_type, name = resource
    changes: list[Record] = [
        ConfigChanged(resource_type, name, key, value)
        for key, value in after.items()
        if before.get(key) != value
    ]
    changes += [ConfigChanged(resource_type, name, key, None) for key in before if key not in after]
    return changes
