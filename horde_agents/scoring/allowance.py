"""How much organic work a validator may pay one miner for in a cycle. Pure.

Without it a validator could pour any weight over a miner of its own by sending itself jobs.
"""

from fractions import Fraction


def allowance(own_share: Fraction, executors: int, cycle_s: int, s_per_point: int) -> Fraction:
    """Points: the validator's stake-fair share of what ``executors`` can do in a cycle.

    ``executors`` are those that were measured, not those that the miner announces.
    """
    return own_share * executors * cycle_s / s_per_point
