"""What excuses may add to the executors that were ever proven."""

from horde_agents.agents.validator.synthetic.proven import Proven

CLASS = "always_on.test"
_COLD = {"a": "cold", "b": "cold", "c": "other"}


def _proven(*batches: dict[str, int]) -> Proven:
    details = [{"proven": {miner: {CLASS: count} for miner, count in batch.items()}} for batch in batches]
    return Proven.of(_COLD, details)


def _excused(proven: Proven, miner: str) -> int:
    """Executors that are excused when every receipt is good."""
    count = 0
    while proven.leaves_room(miner, CLASS) and count < 100:
        proven.note(miner, CLASS)
        count += 1
    return count


def test_excuses_go_up_to_the_most_that_was_proven_at_one_instant() -> None:
    assert _excused(_proven({"c": 2}, {"c": 5}, {"c": 3}), "c") == 5


def test_executors_that_answer_leave_less_to_excuse() -> None:
    proven = _proven({"c": 5})
    proven.note("c", CLASS, 4)
    assert _excused(proven, "c") == 1


def test_executors_may_dance_between_the_uids_of_a_coldkey() -> None:
    assert _excused(_proven({"a": 4, "b": 0}), "b") == 4


def test_a_coldkey_that_has_proven_nothing_is_excused_nothing() -> None:
    assert _excused(_proven({"a": 4}), "c") == 0


def test_before_this_validators_first_batch_nothing_is_bounded() -> None:
    assert _excused(_proven(), "c") == 100


def test_another_class_proves_nothing() -> None:
    assert not _proven({"c": 5}).leaves_room("c", "always_on.gpu-24gb")
