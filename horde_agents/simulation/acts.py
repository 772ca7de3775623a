"""What everybody does in one cycle, and what validators find of it.

An ``Act`` starts honest; a strategy changes what the coalition's miners (and validators) do in it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from horde_agents.simulation.scores import Facts
from horde_agents.simulation.world import COLDKEYS, CYCLE_US, MINERS, VALIDATORS, Flags, Floats, Ints, World

#: How fast demand leaves a miner whose attempts look like faults: a tenth of them halves it.
_FAULT_AVERSION: Final = 7.0
#: A horde never has an organic job in every slot all the time.
_MOST_BUSY: Final = 0.95


@dataclass(slots=True)
class Act:
    """One cycle of all miners, by miner.

    ``claimed`` are executors offered besides the real ones, which pass a batch with ``claimed_pass``;
    ``colluding`` of them show receipts that the coalition's validators signed for them. ``present`` is
    the part of time in which the real executors are there, ``in_seat`` whether they are when a validator
    (row) fires. ``serves`` is the part of organic jobs that are taken, ``stretch`` how much longer than
    needed they take, ``faults`` the part of attempts that look like faults. ``vouched`` multiplies what
    the coalition's validators give, ``extra_users`` are users, at each of those, with one tiny job each.
    ``outside`` is the part of slot time that is sold elsewhere.
    """

    cycle: int
    real: Ints
    real_pass: Floats
    present: Floats
    in_seat: Flags
    claimed: Ints
    claimed_pass: Floats
    colluding: Ints
    serves: Floats
    stretch: Floats
    faults: Floats
    vouched: Floats
    extra_users: Ints
    outside: Floats


def honest_act(world: World, cycle: int, real: Ints) -> Act:
    """All executors there, everything served, nothing pretended."""
    ones, none = np.ones(MINERS), np.zeros(MINERS, dtype=np.int64)
    return Act(
        cycle=cycle,
        real=real,
        real_pass=ones * world.noise.passes,
        present=ones.copy(),
        in_seat=np.ones((VALIDATORS, MINERS), dtype=bool),
        claimed=none.copy(),
        claimed_pass=np.zeros(MINERS),
        colluding=none.copy(),
        serves=ones.copy(),
        stretch=ones.copy(),
        faults=np.zeros(MINERS),
        vouched=ones.copy(),
        extra_users=none.copy(),
        outside=np.zeros(MINERS),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What one cycle shows, kept for the next; ``proven`` by last own batches, validators and coldkeys."""

    facts: Facts
    proven: Ints


def nothing_seen(world: World) -> Seen:
    """Before the first cycle."""
    none = np.zeros((VALIDATORS, MINERS), dtype=np.int64)
    facts = Facts(none, none, none, none, none - 1, none - 1)
    return Seen(facts, np.zeros((max(world.rules.proven_batches, 1), VALIDATORS, COLDKEYS), dtype=np.int64))


def observe(world: World, act: Act, seated: Ints, before: Seen, rng: np.random.Generator) -> Seen:
    """All validators' facts of a cycle; ``seated`` are those that have a seat for a batch."""
    rows = seated[rng.random(len(seated)) >= world.noise.validator_gap]
    served, organic_us = _organic(world, act, rng)
    own, passed, excused = _batches(world, act, served, rows, rng)
    proven = before.proven.copy()
    proven[:, rows] = np.roll(proven[:, rows], 1, axis=0)
    proven[0, rows] = _by_coldkey(passed + own)
    if world.rules.proven_batches:
        excused = _bounded(excused, proven[:, rows].max(axis=0) - proven[0, rows])
    passed = np.rint(passed * np.where(world.is_ours[rows, None], act.vouched, 1.0)).astype(np.int64)
    facts = Facts(
        passed=_of_all(passed, rows, 0),
        excused=_of_all(excused, rows, 0),
        organic_us=organic_us,
        users=np.where(world.is_ours[:, None], act.extra_users, 0),
        counts=_of_all(passed + excused + own, rows, -1),
        previous_counts=before.facts.counts,
    )
    return Seen(facts, proven)


def _batches(
    world: World, act: Act, served: Floats, rows: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Executors that ran the validator's own job, passed and were excused, by measuring validator."""
    own, others, idle = _at_the_instant(world, act, served, rows, rng)
    passed = rng.binomial(idle, act.real_pass)
    if act.claimed_pass.any():
        passed = passed + rng.binomial(act.claimed, act.claimed_pass, idle.shape)
    excused = _excused(world, act, others, rng)
    if world.rules.presence_counts:
        passed = np.floor(passed * act.present).astype(np.int64)
        excused = np.floor(excused * act.present).astype(np.int64)
    return own, np.asarray(passed), excused


def _organic(world: World, act: Act, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Each miner's part of slot time with organic jobs, and run time by validator and miner.

    Demand goes to miners by their capacity and reliability; a validator's is in proportion to its stake.
    """
    attract = act.real * act.present * act.serves * np.exp(-_FAULT_AVERSION * act.faults)
    whole_us = world.market.busy * world.executors.sum() * CYCLE_US
    routed_us = whole_us * attract / max(attract.sum(), 1e-300)
    run_us = np.minimum(routed_us * act.stretch, _MOST_BUSY * act.real * act.present * CYCLE_US)
    spread = 1 + world.noise.organic_spread * rng.standard_normal((VALIDATORS, 1))
    jitter = 1 + world.noise.organic_spread * rng.standard_normal((VALIDATORS, MINERS)) / 4
    by_validator = run_us * world.stakes[:, None] * np.maximum(spread * jitter, 0)
    by_validator[world.is_ours] *= act.vouched
    return run_us / np.maximum(act.real * CYCLE_US, 1), by_validator.astype(np.int64)


def _at_the_instant(
    world: World, act: Act, served: Floats, rows: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Executors with the validator's own job, with another's, and idle, when its batch fires."""
    there = act.real * act.in_seat[rows]
    own = rng.binomial(there, served * world.stakes[rows, None])
    others = rng.binomial(there - own, np.broadcast_to(served, own.shape))
    return own, others, there - own - others


def _excused(world: World, act: Act, others: Ints, rng: np.random.Generator) -> Ints:
    """Executors declined with a receipt that excuses: each signer excuses its share of those offered.

    What colluding signers have left, after the real work that they pay for, excuses claimed executors.
    """
    signed = float(world.stakes[world.signers].sum())
    real = rng.binomial(others, signed * (1 - world.noise.excuse_lost))
    offered = act.real + act.claimed
    ours = world.stakes[world.is_ours & world.signers]
    bound = np.ceil(ours[:, None] * offered).sum(axis=0)
    busy = np.rint(others * float(ours.sum()))
    return np.asarray(real + np.minimum(act.colluding, np.maximum(bound - busy, 0)).astype(np.int64))


def _of_all(values: Ints, rows: Ints, otherwise: int) -> Ints:
    """Rows of those that measured among those of all validators."""
    whole = np.full((VALIDATORS, MINERS), otherwise, dtype=np.int64)
    whole[rows] = values
    return whole


def _by_coldkey(values: Ints) -> Ints:
    return np.asarray(values.reshape(len(values), COLDKEYS, -1).sum(axis=2))


def _bounded(excused: Ints, room: Ints) -> Ints:
    """Excuses in proportion, so that no coldkey has more than its room."""
    wanted = _by_coldkey(excused)
    kept = np.minimum(wanted, np.maximum(room, 0)) / np.maximum(wanted, 1)
    return np.floor(excused * np.repeat(kept, MINERS // COLDKEYS, axis=1)).astype(np.int64)
