"""The rules of ``horde_agents.scoring`` for many validators at once, in arrays: months would take days there.

A test compares every weight with what ``scoring.weights.score`` gives for the same facts.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.weights import MAX_WEIGHT
from horde_agents.simulation.world import CLASSES, CYCLE_US, Floats, Ints


@dataclass(frozen=True, slots=True)
class Facts:
    """What each validator (row) found at each miner (column) in a cycle.

    ``counts`` are executors measured in its batch, -1 in all columns where it had none; ``users`` are
    users whose jobs there are worth less than a point, besides the one that ``organic_us`` belongs to.
    """

    passed: Ints
    excused: Ints
    organic_us: Ints
    users: Ints
    counts: Ints
    previous_counts: Ints


def points_of(facts: Facts, stakes: Floats, coldkeys: Ints, configuration: Configuration) -> Floats:
    """Each miner's points at each validator, with the bonus."""
    whole = facts.passed + facts.excused + _organic(facts, stakes, configuration)
    return np.asarray(whole * _bonus(facts, coldkeys, configuration))


def weights_u16(points: Floats, classes: Ints, configuration: Configuration) -> Ints:
    """Each validator's weights; a row is all 0 where it found nothing."""
    return _upscaled(_shares(points, classes, configuration))


def _organic(facts: Facts, stakes: Floats, configuration: Configuration) -> Floats:
    point_us = configuration.organic_s_per_point * 1_000_000
    earned = facts.organic_us / point_us
    topped_up = np.where(facts.organic_us > 0, np.maximum(earned, 1.0), 0.0) + facts.users
    counts = np.where(facts.counts >= 0, facts.counts, np.maximum(facts.previous_counts, 0))
    slots = np.maximum(counts, (facts.organic_us > 0) | (facts.users > 0))
    return np.asarray(np.minimum(topped_up, stakes[:, None] * slots * CYCLE_US / point_us))


def _bonus(facts: Facts, coldkeys: Ints, configuration: Configuration) -> Floats:
    """The factor by validator and miner; a miner has one class, so its coldkey's movement is its class's."""
    now, before = np.maximum(facts.counts, 0), np.maximum(facts.previous_counts, 0)
    measured = (facts.counts >= 0).any(axis=1) & (facts.previous_counts >= 0).any(axis=1)
    arrived = _by_coldkey(np.maximum(now - before, 0), coldkeys)
    left = _by_coldkey(np.maximum(before - now, 0), coldkeys)
    slots = np.maximum(_by_coldkey(now, coldkeys), _by_coldkey(before, coldkeys))
    moved = np.minimum(arrived, left)
    share = Fraction(configuration.dancing_share)
    is_enough = moved * share.denominator >= share.numerator * slots
    danced = (moved > 0) & is_enough & np.asarray(measured)[:, None]
    return np.asarray(np.where(danced, float(Fraction(configuration.dancing_bonus)), 1.0)[:, coldkeys])


def _by_coldkey(values: Ints, coldkeys: Ints) -> Ints:
    starts = np.flatnonzero(np.diff(coldkeys, prepend=-1))
    return np.asarray(np.add.reduceat(values, starts, axis=1))


def _shares(points: Floats, classes: Ints, configuration: Configuration) -> Floats:
    shares = np.zeros_like(points)
    weights = np.zeros((points.shape[0], len(CLASSES)))
    for index, name in enumerate(CLASSES):
        whole = points[:, classes == index].sum(axis=1)
        weights[:, index] = np.where(whole > 0, configuration.class_weights.get(name, 0), 0)
    total = weights.sum(axis=1)
    for index in range(len(CLASSES)):
        inside = points[:, classes == index]
        part = weights[:, index] / np.where(total > 0, total, 1) / np.maximum(inside.sum(axis=1), 1e-300)
        shares[:, classes == index] = inside * part[:, None]
    return shares


def _upscaled(shares: Floats) -> Ints:
    largest = np.maximum(shares.max(axis=1, keepdims=True), 1e-300)
    rounded = np.floor(shares / largest * MAX_WEIGHT + 0.5).astype(np.int64)
    return np.where(shares > 0, np.maximum(rounded, 1), 0)
