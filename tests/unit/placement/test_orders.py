"""What an operator may order, and how an order that cannot be carried out is refused."""

from dataclasses import replace

import pytest

from horde_agents.placement.coordination import Delete, Put
from horde_agents.placement.orders import OrderRefused, drain, pin, pool_wish, uid_named, unpin
from horde_agents.placement.records import HordeState, Keys, PoolWish, SlotState, UidWish
from tests.unit.placement.hordes import CLASSES, horde, slot

KEYS = Keys("test")
AT = "2026-01-01T00:00:00Z"


def _state(*slots_: object, **more: object) -> HordeState:
    state = horde(slots_, **more)  # type: ignore[arg-type]  # slots, and what a horde of tests takes
    return replace(state, indices={KEYS.slot(slot_id): 4 for slot_id in state.slots})


def test_uid_is_named_by_number_hotkey_or_its_beginning() -> None:
    state = HordeState(slots={"n:1": slot(1, "5Gone", uid=9)}, members=horde([]).members)
    assert (uid_named(state, "0"), uid_named(state, "A"), uid_named(state, "5G")) == ("A", "A", "5Gone")
    assert uid_named(state, "9") == "5Gone"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5G", "may be 5Ga, 5Gb"),
        ("5H", r"'5H'. There are: 5Ga, 5Gb"),
        ("7", "hotkey or UID '7'"),
        ("", "is empty"),
        ("9" * 5000, "UID '999"),
    ],
)
def test_name_of_none_or_several_is_refused(text: str, says: str) -> None:
    state = HordeState(uid_wishes={"5Ga": UidWish(), "5Gb": UidWish()})
    with pytest.raises(OrderRefused, match=says):
        uid_named(state, text)


def test_empty_name_means_nobody_even_where_there_is_one_alone() -> None:
    with pytest.raises(OrderRefused, match="is empty"):
        uid_named(HordeState(members=horde([], living=("A",)).members), "")


def test_pin_to_another_uid_gives_the_slot_with_a_line_of_history() -> None:
    pinned, line = pin(_state(slot(0, "A")), KEYS, "node:cpu-0", "B", AT)
    assert isinstance(pinned, Put)
    assert (pinned.index, '"owner":"B"' in pinned.value, '"pinned":true' in pinned.value) == (4, True, True)
    assert line.key.startswith(KEYS.history)


def test_pin_where_it_is_changes_nothing_twice() -> None:
    assert len(pin(_state(slot(0, "A")), KEYS, "node:cpu-0", None, AT)) == 1
    assert pin(_state(slot(0, "A", pinned=True)), KEYS, "node:cpu-0", "A", AT) == []


@pytest.mark.parametrize(
    ("state", "to", "says"),
    [
        (_state(slot(0, "A")), "C", "No miner of C is alive"),
        (_state(slot(0, "A", SlotState.LEASED, job_uuid="j")), "B", "is leased by job j"),
        (_state(slot(0, "")), None, "has no owner yet"),
        (_state(slot(1, "A")), None, "Did you mean 'node:cpu-1'"),
    ],
)
def test_pin_that_cannot_be_is_refused(state: HordeState, to: str | None, says: str) -> None:
    with pytest.raises(OrderRefused, match=says):
        pin(state, KEYS, "node:cpu-0", to, AT)


def test_orders_that_are_fulfilled_already_change_nothing() -> None:
    drained = HordeState(uid_wishes={"A": UidWish(drained=True)}, indices={KEYS.uid("A"): 3})
    assert drain(drained, KEYS, "A", drained=True) == []
    assert drain(drained, KEYS, "A", drained=False) == [Delete(KEYS.uid("A"), 3)]
    assert drain(HordeState(), KEYS, "A", drained=False) == []
    assert unpin(_state(slot(0)), KEYS, "node:cpu-0") == []
    wished = HordeState(pool_wishes={CLASSES[0]: PoolWish(2)}, indices={KEYS.pool(CLASSES[0]): 3})
    assert pool_wish(wished, KEYS, CLASSES[0], 2) == []
    assert pool_wish(wished, KEYS, CLASSES[0], None) == [Delete(KEYS.pool(CLASSES[0]), 3)]


def test_class_that_nobody_knows_is_refused() -> None:
    with pytest.raises(OrderRefused, match="no executor class 'gpu-7'"):
        pool_wish(HordeState(), KEYS, "gpu-7", 1)
