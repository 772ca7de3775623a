"""What part of all capacity is each validator's. Pure and exact.

A validator's share is its part of all stake. Those with little stake have one pool together, which is never
more than their stake nor than the pool's size: nobody gains by splitting stake into small parts.
"""

from collections.abc import Mapping
from fractions import Fraction

from horde_agents.scoring.configuration import Configuration


def fair_shares(
    stakes_rao: Mapping[str, int], small_pool_share: Fraction, small_pool_stake_share: Fraction
) -> dict[str, Fraction]:
    """Shares by hotkey, which sum to 1 where there is any stake.

    Who has less than ``small_pool_stake_share`` of all stake is in the pool, of ``small_pool_share`` at most.
    """
    total = sum(stakes_rao.values())
    if total <= 0:
        return dict.fromkeys(sorted(stakes_rao), Fraction(0))
    small = {key: rao for key, rao in stakes_rao.items() if rao < small_pool_stake_share * total}
    large_rao = total - sum(small.values())
    if large_rao == 0:
        return {key: Fraction(stakes_rao[key], total) for key in sorted(stakes_rao)}
    small_rao = sum(small.values())
    pool = min(small_pool_share, Fraction(small_rao, total))
    return {
        key: pool * Fraction(rao, small_rao or 1) if key in small else (1 - pool) * Fraction(rao, large_rao)
        for key, rao in sorted(stakes_rao.items())
    }


def configured_shares(stakes_rao: Mapping[str, int], configuration: Configuration) -> dict[str, Fraction]:
    """``fair_shares`` by the knobs."""
    return fair_shares(
        stakes_rao, Fraction(configuration.small_pool_share), Fraction(configuration.small_pool_stake_share)
    )
