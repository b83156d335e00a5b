"""The settings of single groups, as they are at the moment: their own overrides above the broker's keys."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from odradek.cluster.controller import broker_layers
from odradek.cluster.image import GROUP_RESOURCE, ConfigResource
from odradek.core.config.groups import ConsumerGroupConfig, consumer_group_config

if TYPE_CHECKING:
    from odradek.broker.broker import Broker


class GroupSettingsOf:
    """Call it with a group id whenever a setting is needed; a change applies from the next call on.

    Invariant: ``_found`` was read from ``_configs``, the dynamic settings of the image that was current.
    """

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._configs: Mapping[ConfigResource, Mapping[str, str]] | None = None
        self._default: ConsumerGroupConfig
        self._found: dict[str, ConsumerGroupConfig] = {}

    def __call__(self, group_id: str) -> ConsumerGroupConfig:
        configs = self._broker.image.configs
        if configs is not self._configs:
            self._read(configs)
        return self._found.get(group_id, self._default)

    def _read(self, configs: Mapping[ConfigResource, Mapping[str, str]]) -> None:
        layers = broker_layers(self._broker.image, self._broker.config)
        self._default = consumer_group_config(layers, {})
        self._found = {
            name: consumer_group_config(layers, overrides)
            for (kind, name), overrides in configs.items()
            if kind == GROUP_RESOURCE
        }
        self._configs = configs
