"""Reading the shared store: what is written comes back, what cannot be read is named and survived."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.placement.coordination import Entry, Session, Snapshot
from horde_agents.placement.records import (
    Garbage,
    HordeState,
    Keys,
    MainHotkey,
    Member,
    MoveRecord,
    PoolReport,
    PoolWish,
    Slot,
    SlotState,
    UidWish,
    as_json,
    read_moves,
    read_state,
)
from tests.unit.placement.hordes import hordes

KEYS = Keys("test")
ADDRESS = f"10.0.0.1:1/{'0' * 64}"
SLOT = Slot("n:g1", "always_on.test", "n", ("g1",), "A", 3, 5, SlotState.LEASED, "alloc", job_uuid="j")


def _read(values: Mapping[str, str]) -> HordeState:
    held = Session("s")
    entries = {
        key: Entry(value, 4, held if key.startswith(KEYS.member("")) else None)
        for key, value in values.items()
    }
    return read_state(KEYS, Snapshot(9, entries))


def test_every_record_comes_back_as_it_was_written() -> None:
    member, wish, report = Member("A", 3, ADDRESS), PoolWish(2), PoolReport(3, 2, 1, "no place")
    state = _read(
        {
            KEYS.slot(SLOT.slot_id): as_json(SLOT),
            KEYS.member("A"): as_json(member),
            KEYS.uid("A"): as_json(UidWish(drained=True)),
            KEYS.pool("always_on.test"): as_json(wish),
            KEYS.report("always_on.test"): as_json(report),
            KEYS.main_hotkey: as_json(MainHotkey("A", 7)),
            KEYS.last_dance: "7",
            KEYS.dance: "",
        }
    )
    assert state.slots == {SLOT.slot_id: SLOT}
    assert state.members == {"A": member}
    assert state.uid_wishes["A"].drained
    assert (state.pool_wishes, state.pool_reports) == ({"always_on.test": wish}, {"always_on.test": report})
    assert (state.main_hotkey, state.last_dance_cycle) == (MainHotkey("A", 7), 7)
    assert (state.dance_wanted, state.garbage, state.index) == (True, (), 9)
    assert state.indices[KEYS.slot(SLOT.slot_id)] == 4


@given(hordes())
def test_any_slots_come_back_as_they_were_written(state: HordeState) -> None:
    values = {KEYS.slot(slot_id): as_json(slot) for slot_id, slot in state.slots.items()}
    assert _read(values).slots == state.slots


def test_role_is_held_by_the_session_of_its_lock() -> None:
    held = Entry("A", 4, Session("s"))
    state = read_state(KEYS, Snapshot(9, {KEYS.role("choreographer"): held}))
    assert state.roles == {"choreographer": ("A", "s")}
    assert (state.who_has("choreographer"), state.who_has("keeper")) == ("A", None)


def test_nobody_has_a_role_whose_lock_was_released() -> None:
    state = read_state(KEYS, Snapshot(9, {KEYS.role("choreographer"): Entry("A", 5)}))
    assert state.who_has("choreographer") is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{broken", "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ("{}", "slot_id"),
        (as_json(SLOT).replace('"epoch":5', '"epoch":"five"'), "epoch"),
        (as_json(SLOT).replace('"epoch":5', f'"epoch":{"9" * 4300}'), "epoch"),
        (as_json(SLOT).replace('"epoch":5', '"epoch":-1'), "epoch"),
        (as_json(SLOT).replace('"epoch":5', '"epoch":NaN'), "epoch"),
        (as_json(SLOT).replace('"uid":3', '"uid":65536'), "uid"),
        (as_json(SLOT).replace('"owner":"A"', '"owner":"\\ud800"'), "Invalid JSON"),
        ("[" * 100_000, "65536 are the most"),
        ("[" * 60_000, "recursion"),
        (as_json(replace(SLOT, devices=tuple(map(str, range(20_000))))), "65536 are the most"),
        (as_json(SLOT).replace('"leased"', '"sleeping"'), "state"),
        (as_json(SLOT).replace('"slot_id":"n:g1"', '"slot_id":"n:g2"'), "it names another: 'n:g2'"),
    ],
)
def test_slot_that_cannot_be_read_is_named_and_the_rest_goes_on(value: str, why: str) -> None:
    good = Slot("n:g9", "always_on.test", "n")
    state = _read({KEYS.slot("n:g1"): value, KEYS.slot("n:g9"): as_json(good)})
    assert state.slots == {"n:g9": good}
    assert [garbage.key for garbage in state.garbage] == [KEYS.slot("n:g1")]
    assert why in state.garbage[0].why


def test_member_of_another_name_is_garbage() -> None:
    state = _read({KEYS.member("B"): as_json(Member("A", 1, ADDRESS))})
    assert state.members == {}
    assert state.garbage[0].key == KEYS.member("B")


@pytest.mark.parametrize("address", ["", "nowhere", "10.0.0.1:1", f"a b:1/{'0' * 64}", f"é:1/{'0' * 64}"])
def test_member_whose_address_is_none_is_garbage(address: str) -> None:
    state = _read({KEYS.member("A"): as_json(Member("A", 1, address))})
    assert state.members == {}
    assert "address" in state.garbage[0].why


def test_member_that_no_session_holds_is_nobody() -> None:
    state = read_state(KEYS, Snapshot(9, {KEYS.member("A"): Entry(as_json(Member("A", 1, ADDRESS)), 4)}))
    assert state.members == {}
    assert state.garbage == (Garbage(KEYS.member("A"), "no miner's session holds it"),)


@pytest.mark.parametrize("name", ["", "slotz/a", "dance/x", "last_dance/", "a b", "../x", "slots"])
def test_key_of_no_known_name_is_named(name: str) -> None:
    assert [garbage.key for garbage in _read({KEYS.prefix + name: "1"}).garbage] == [KEYS.prefix + name]


@pytest.mark.parametrize("holders", [-5, -(2**70), 10**9, 2**70])
def test_count_of_holders_beyond_all_reason_is_garbage(holders: int) -> None:
    state = _read({KEYS.pool("always_on.test"): as_json(PoolWish(holders))})
    assert (state.pool_wishes, len(state.garbage)) == ({}, 1)


def test_folder_that_somebody_made_is_named_by_its_whole_key() -> None:
    state = _read({f"{KEYS.prefix}slots/": ""})
    assert [garbage.key for garbage in state.garbage] == ["horde/test/slots/"]


@pytest.mark.parametrize("key", ["last_dance", "main_hotkey", "uids/A", "pool/always_on.test"])
def test_wish_or_note_that_cannot_be_read_is_as_if_it_were_not_there(key: str) -> None:
    state = _read({f"{KEYS.prefix}{key}": "garbage"})
    assert [garbage.key for garbage in state.garbage] == [f"{KEYS.prefix}{key}"]
    assert (state.last_dance_cycle, state.main_hotkey, state.uid_wishes, state.pool_wishes) == (
        -1,
        None,
        {},
        {},
    )


@given(st.dictionaries(st.sampled_from(["slots/a", "members/b", "dance", "x", "slots", "/"]), st.text()))
def test_no_text_in_any_key_makes_reading_fail(values: dict[str, str]) -> None:
    state = _read({KEYS.prefix + key: value for key, value in values.items()})
    assert {garbage.key for garbage in state.garbage} <= {KEYS.prefix + key for key in values}


def test_unknown_fields_of_a_newer_version_are_left_out() -> None:
    value = json.dumps({**json.loads(as_json(SLOT)), "colour": "blue"})
    assert _read({KEYS.slot("n:g1"): value}).slots == {"n:g1": SLOT}


def test_history_is_read_oldest_first_and_without_broken_lines() -> None:
    first = MoveRecord("2026-01-01T00:00:00Z", "A", "dance", (("n:g1", "A", "B"),))
    second = MoveRecord("2026-01-02T00:00:00Z", "A", "new", (("n:g2", "", "B"),))
    below = {
        f"{KEYS.history}{second.at}-1": Entry(as_json(second), 2),
        f"{KEYS.history}{first.at}-9": Entry(as_json(first), 1),
        f"{KEYS.history}2026-01-03": Entry("{", 3),
    }
    assert read_moves(Snapshot(3, below)) == [first, second]
