"""Short ways to write down a cycle's facts."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, NeuronFact, Outcome, Work
from horde_agents.scoring.inputs import Inputs, point_us
from horde_agents.scoring.result import ClassScore, MinerScore, Result
from horde_agents.scoring.tally import summed

CLASS = "always_on.test"
OTHER_CLASS = "always_on.gpu.h100"
SECOND_US = 1_000_000
_numbers = count()


def synthetic(
    miner: str,
    outcome: Outcome = Outcome.PASSED,
    many: int = 1,
    batch_uuid: str = "batch-1",
    **changes: Any,
) -> list[Work]:
    """Synthetic jobs of a batch."""
    return [_work(miner, outcome, is_organic=False, batch_uuid=batch_uuid, **changes) for _ in range(many)]


def organic(
    miner: str, run_s: int, outcome: Outcome = Outcome.PASSED, user: str = "user", **changes: Any
) -> Work:
    """A user's job that ran so long."""
    run_us = run_s * SECOND_US
    return _work(miner, outcome, is_organic=True, user_hotkey=user, run_us=run_us, **changes)


def neuron(uid: int, hotkey: str, coldkey: str = "", permit: bool = False) -> NeuronFact:
    """A row of the metagraph; the coldkey is the hotkey's own unless named."""
    return NeuronFact(uid, hotkey, coldkey or f"cold-{hotkey}", 1000, permit)


def counted(miner: str, executors: int, name: str = CLASS, batch: str = "batch-1") -> BatchCount:
    """Measured executors."""
    return BatchCount(batch, 100, miner, name, executors)


def cycle_inputs(works: Iterable[Work] = (), **changes: Any) -> Inputs:
    """A cycle of 722 blocks of 12 s; miners a, b, c are registered, the validator may use them whole."""
    configuration = changes.get("configuration", Configuration(class_weights={CLASS: 1}))
    facts: dict[str, Any] = {
        "netuid": 12,
        "cycle": 5,
        "length_blocks": 722,
        "block_us": 12 * SECOND_US,
        "validator_hotkey": "validator",
        "share": "1/1",
        "configuration": configuration,
        "neurons": (neuron(0, "a"), neuron(1, "b"), neuron(2, "c"), neuron(3, "validator", permit=True)),
        "work": summed(works, point_us(configuration)),
        "counts": (),
        "previous_counts": (),
        "verdicts_sha256": "",
    }
    return Inputs(**(facts | changes))


def miner(result: Result, hotkey: str) -> MinerScore:
    """A miner's score."""
    return next(score for score in result.miners if score.hotkey == hotkey)


def class_score(result: Result, hotkey: str, name: str = CLASS) -> ClassScore:
    """A miner's score in a class."""
    return next(score for score in miner(result, hotkey).classes if score.executor_class == name)


def by_uid(result: Result) -> dict[int, int]:
    """The weights."""
    return dict(zip(result.uids, result.weights, strict=True))


def _work(hotkey: str, outcome: Outcome, **changes: Any) -> Work:
    facts: dict[str, Any] = {
        "attempt_uuid": f"attempt-{next(_numbers)}",
        "batch_uuid": "",
        "miner_hotkey": hotkey,
        "executor_class": CLASS,
        "user_hotkey": "",
        "outcome": outcome,
        "run_us": 30 * SECOND_US,
        "limit_us": 3600 * SECOND_US,
    }
    return Work(**(facts | changes))
