from odradek.coordinator.assignors.table import ASSIGNORS
from odradek.core.config.keys import broker_keys


def test_the_names_are_those_of_the_broker_key() -> None:
    assert ",".join(ASSIGNORS) == broker_keys()["group.consumer.assignors"].default
