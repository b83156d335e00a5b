"""A broker inside the test process: ``with Broker() as broker: broker.bootstrap_servers``.

Pytest users get it from the fixtures ``odradek_broker``, ``odradek_topic`` and ``odradek_broker_factory``.
``Simulation(seed).run()`` is for those who change the broker: everything that can go wrong, from one seed.
"""

from typing import TYPE_CHECKING, Any

from odradek.testing.broker import Broker, Record

if TYPE_CHECKING:
    from odradek.testing.simulation import Simulation

__all__ = ["Broker", "Record", "Simulation"]


def __getattr__(name: str) -> Any:
    # Most who start a broker never simulate one: its modules are imported by those who do.
    if name == "Simulation":
        from odradek.testing.simulation import Simulation

        return Simulation
    raise AttributeError(name)
