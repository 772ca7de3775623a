"""One epoch of Yuma consensus: clipping at the stake-weighted median, and bonds that follow slowly.

As on a subnet without liquid alpha: kappa 0.5, bonds penalty 1, bonds' moving average 0.9. Dividends and
incentives each sum to 1. Floats: this is the chain's part, of which only proportions matter here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from horde_agents.simulation.world import Floats

KAPPA: Final = 0.5
#: The part of the new bonds in the average.
BONDS_ALPHA: Final = 0.1


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch pays: to miners by ``incentive``, to validators by ``dividends``."""

    incentive: Floats
    dividends: Floats
    bonds: Floats
    consensus: Floats


def epoch(weights: Floats, stakes: Floats, bonds: Floats) -> Epoch:
    """Pay for weights (rows of validators) with these stakes, which sum to 1, and the bonds until now."""
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    agreed = consensus(weights, stakes)
    clipped = np.minimum(weights, agreed)
    ranks = stakes @ clipped
    incentive = ranks / max(ranks.sum(), 1e-300)
    fresh = _columns(clipped * stakes[:, None])
    bonds = _columns(BONDS_ALPHA * fresh + (1 - BONDS_ALPHA) * bonds)
    dividends = bonds @ incentive
    return Epoch(incentive, dividends / max(dividends.sum(), 1e-300), bonds, agreed)


def consensus(weights: Floats, stakes: Floats) -> Floats:
    """For each miner the highest weight that at least half of the stake gives it."""
    order = np.argsort(-weights, axis=0, kind="stable")
    support = np.cumsum(stakes[order], axis=0)
    first = np.argmax(support >= KAPPA - 1e-12, axis=0)
    columns = np.arange(weights.shape[1])
    return np.asarray(weights[order[first, columns], columns])


def _columns(bonds: Floats) -> Floats:
    return np.asarray(bonds / np.maximum(bonds.sum(axis=0, keepdims=True), 1e-300))
