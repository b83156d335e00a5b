"""A deterministic simulation of a broker, its clients, and everything that can go wrong between them.

``Simulation(seed).run()`` simulates and checks; by hand it is ``python -m odradek.testing.simulation SEED``.
"""

from odradek.testing.simulation.simulation import Result, Simulation

__all__ = ["Result", "Simulation"]
