"""Horde: the ComputeHorde system as a bundle that operators run."""

__version__ = "0.1.0"
