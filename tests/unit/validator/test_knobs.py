"""Every knob of the dynamic configuration changes what the part that reads it does."""

from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from horde_agents.agents.validator.judging import chance
from horde_agents.agents.validator.progress import Progress
from horde_agents.agents.validator.synthetic import plan
from horde_agents.agents.validator.weights.steps import OnChain, next_step
from horde_agents.clients.chain_weights import Terms
from horde_agents.runtime.clock import now
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import cycle_number
from horde_agents.scoring.facts import BatchCount
from horde_agents.scoring.shares import configured_shares
from horde_agents.scoring.weights import score
from horde_agents.store.weight_settings import WeightMode, WeightSetting
from tests.unit.scoring.cycle_facts import (
    CLASS,
    OTHER_CLASS,
    by_uid,
    counted,
    cycle_inputs,
    neuron,
    organic,
    synthetic,
)

Reading = Callable[[Configuration], object]
#: Read by parts that need a running validator.
_ELSEWHERE = {
    "version",  # tests/integration/validator/test_configuration.py
    "excuse_minimum_stake_tao",  # likewise
    "excuse_proven_batches",  # tests/integration/validator/test_batches.py
    "trusted_validation_share",  # tests/integration/validator/test_cross_validation.py
}


def _weights(configuration: Configuration) -> object:
    """Of a cycle in which everything that scoring knows has happened."""
    works = [*synthetic("a", many=6), *synthetic("b", many=2), organic("c", 700)]
    works += synthetic("c", many=2, executor_class=OTHER_CLASS)
    neurons = (neuron(0, "a", "cold"), neuron(1, "b", "cold"), neuron(2, "c"), neuron(3, "burn"))
    return by_uid(
        score(
            cycle_inputs(
                works,
                configuration=configuration,
                neurons=neurons,
                counts=_counted("batch-1", a=6, b=2),
                previous_counts=_counted("batch-0", a=4, b=4),
            )
        )
    )


def _counted(batch: str, **executors: int) -> tuple[BatchCount, ...]:
    counts = [counted(hotkey, many, batch=batch) for hotkey, many in executors.items()]
    return (*counts, counted("c", 2, batch=batch))


def _shares(configuration: Configuration) -> object:
    return configured_shares({"large": 900, "small": 60, "tiny": 40}, configuration)


def _challenges(configuration: Configuration) -> object:
    many = configuration.single_challenges_per_cycle
    return len(plan.challenge_blocks(cycle_number(5, 12), None, plan.Pace(2, 2), 0, many, Random(1)))


def _tested(configuration: Configuration) -> object:
    return plan.tested_share(Fraction(configuration.synthetic_share), 8664.0, 4, 300.0)


def _act(configuration: Configuration) -> object:
    setting = WeightSetting(5, 12, (1,), ("5Miner",), (65_535,), now(), mode=WeightMode.TIMELOCKED)
    terms = Terms(
        block=900,
        uid=0,
        has_permit=True,
        commit_reveal=True,
        reveal_epochs=1,
        epoch=3,
        rate_limit_blocks=0,
        last_update=0,
        version_key=0,
        uids={"5Miner": 1},
    )
    return next_step(setting, OnChain(terms, {}), 5, hide=configuration.commit_reveal).act


def _progress(configuration: Configuration) -> object:
    return Progress().is_due(0.0, configuration.progress_interval_s, 90.0)


def _compared(configuration: Configuration) -> object:
    return chance(Fraction(configuration.cross_validation_share), 10)


_BURNING = {"burn_rate": "0.5", "burn_hotkeys": ("burn",)}
_EVEN = {"class_weights": {CLASS: 1, OTHER_CLASS: 1}}
_KNOBS: dict[str, tuple[Reading, dict[str, Any], object]] = {
    "class_weights": (_weights, {}, {CLASS: 9, OTHER_CLASS: 1}),
    "max_executors_per_class": (_weights, _EVEN, {CLASS: 3}),
    "organic_s_per_point": (_weights, _EVEN, 200),
    "dancing_bonus": (_weights, _EVEN, "2"),
    "dancing_share": (_weights, _EVEN, "0.9"),
    "burn_rate": (_weights, _EVEN | _BURNING, "0.25"),
    "burn_hotkeys": (_weights, _EVEN | _BURNING, ("burn", "c")),
    "synthetic_share": (_tested, {}, "0.01"),
    "single_challenges_per_cycle": (_challenges, {}, 5),
    "small_pool_share": (_shares, {"small_pool_stake_share": "0.1"}, "0.02"),
    "small_pool_stake_share": (_shares, {}, "0.1"),
    "progress_interval_s": (_progress, {}, 120),
    "cross_validation_share": (_compared, {}, "0.5"),
    "commit_reveal": (_act, {}, False),
}


@pytest.mark.parametrize("name", _KNOBS)
def test_turning_a_knob_changes_what_its_part_does(name: str) -> None:
    reading, others, value = _KNOBS[name]
    before = Configuration(**others)
    after = Configuration(**(others | {name: value}))
    assert reading(before) == reading(Configuration(**others))
    assert reading(before) != reading(after)


def test_no_knob_is_forgotten_here() -> None:
    assert set(_KNOBS) | _ELSEWHERE == set(Configuration.model_fields)
