"""The assignors by their names in ``group.consumer.assignors`` and ConsumerGroupHeartbeat."""

from collections.abc import Mapping

from odradek.coordinator.assignors.assignor import Assignor
from odradek.coordinator.assignors.range import assign_ranges
from odradek.coordinator.assignors.uniform import assign_uniformly

ASSIGNORS: Mapping[str, Assignor] = {"uniform": assign_uniformly, "range": assign_ranges}
"""In Kafka's order of preference: the first is for groups whose members ask for none."""
