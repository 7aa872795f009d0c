"""Which rate a device uses for a number format; see `gambrel.cost.rates`."""

from gambrel.cost.rates import WIDER, energy_per_flop, rates_of, resolve_rate, upcasts

__all__ = ["WIDER", "energy_per_flop", "rates_of", "resolve_rate", "upcasts"]
