"""Inputs for these tests."""

from typing import Any

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import Inputs, Measured, NeuronFact, Outcome, Tally

CLASS = "always_on.test"
OTHER = "always_on.gpu-24gb"
WEIGHTS = {CLASS: 1, OTHER: 3}


def neurons(*hotkeys: str, coldkey: str | None = None) -> tuple[NeuronFact, ...]:
    """A UID for each hotkey, which owns itself unless ``coldkey`` does."""
    return tuple(
        NeuronFact(uid=uid, hotkey=hotkey, coldkey=coldkey or hotkey, stake_rao=0, permit=False)
        for uid, hotkey in enumerate(hotkeys)
    )


def passed(miner: str, jobs: int = 1, name: str = CLASS, outcome: Outcome = Outcome.PASSED) -> Tally:
    """Synthetic jobs that ended alike."""
    return Tally(miner_hotkey=miner, executor_class=name, is_organic=False, outcome=outcome, jobs=jobs)


def organic(
    miner: str, seconds: int, user: str = "user", outcome: Outcome = Outcome.PASSED, name: str = CLASS
) -> Tally:
    """One organic job's worth of time."""
    return Tally(
        miner_hotkey=miner,
        executor_class=name,
        is_organic=True,
        user_hotkey=user,
        outcome=outcome,
        jobs=1,
        paid_us=seconds * 1_000_000,
    )


def measured(**counts: int) -> tuple[Measured, ...]:
    """Executors of ``CLASS`` by miner."""
    return tuple(
        Measured(miner_hotkey=miner, executor_class=CLASS, executors=count) for miner, count in counts.items()
    )


def inputs(found: tuple[NeuronFact, ...], *tallies: Tally, **changes: Any) -> Inputs:
    """A cycle of an hour at a validator that has half of all stake."""
    knobs = changes.pop("knobs", {})
    values: dict[str, Any] = {
        "netuid": 12,
        "cycle": 7,
        "cycle_blocks": 722,
        "cycle_s": 3600,
        "validator_hotkey": "validator",
        "own_share": "1/2",
        "configuration": Configuration(**{"class_weights": WEIGHTS, **knobs}),
        "neurons": found,
        "registered": {neuron.uid: neuron.hotkey for neuron in found},
        "tallies": tallies,
        "now": measured(**{neuron.hotkey: 10 for neuron in found}),
    }
    return Inputs(**values | changes)
