"""A broker inside the test process: ``with Broker() as broker: broker.bootstrap_servers``.

Pytest users get it from the fixtures ``odradek_broker``, ``odradek_topic`` and ``odradek_broker_factory``.
"""

from odradek.testing.broker import Broker, Record

__all__ = ["Broker", "Record"]
