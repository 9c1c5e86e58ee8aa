"""A believable click stream of which the truth is known: power laws, crosses, drift, bad events."""

from ctr.simulate.bad import KINDS, REASONS
from ctr.simulate.figures import Totals
from ctr.simulate.settings import FIELDS, SimulatorSettings
from ctr.simulate.simulator import Simulated, Simulator

__all__ = [
    "FIELDS",
    "KINDS",
    "REASONS",
    "Simulated",
    "Simulator",
    "SimulatorSettings",
    "Totals",
]
