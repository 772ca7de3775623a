"""Records against holders: each drift is found, named and repaired, and nothing else is touched."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.placement.holders import Holder
from horde_agents.placement.records import Slot, SlotState
from horde_agents.placement.register import Correction, corrections, slot_of
from horde_agents.placement.standings import Standing

CLASS = "always_on.llm.a6000"


def _holder(
    *devices: str, allocation: str = "alloc-1", standing: Standing = Standing.RUNNING, node: str = "gpu1"
) -> Holder:
    return Holder(f"job-{allocation}", CLASS, 0, 1, standing, allocation, node, devices)


def _kept(*holders: Holder) -> dict[str, tuple[Slot, Holder]]:
    slots = {holder: slot_of(holder, f"{holder.node}:cpu-x0") for holder in holders}
    return {slot.slot_id: (slot, holder) for holder, slot in slots.items()}


def _recorded(holder: Holder, **more: object) -> Slot:
    return replace(slot_of(holder, ""), owner="A", uid=3, epoch=4, **more)  # type: ignore[arg-type]  # fields


def _found(slots: list[Slot], kept: list[Holder], ended: list[Holder]) -> list[Correction]:
    return corrections({slot.slot_id: slot for slot in slots}, _kept(*kept), ended)


def test_slot_is_called_by_its_sorted_devices() -> None:
    slot = slot_of(_holder("g2", "g1"), "gpu1:cpu-x0")
    assert (slot.slot_id, slot.devices) == ("gpu1:g1+g2", ("g1", "g2"))
    assert slot_of(_holder(), "gpu1:cpu-x0").slot_id == "gpu1:cpu-x0"


def test_new_holder_s_slot_is_recorded_without_an_owner() -> None:
    (found,) = _found([], [_holder("g1")], [])
    assert found.slot is not None
    assert (found.slot.owner, found.slot.state, found.slot.epoch) == ("", SlotState.READY, 0)


def test_record_that_is_right_is_left_alone() -> None:
    holder = _holder("g1")
    for state in (SlotState.READY, SlotState.LEASED, SlotState.CLASHING):
        assert _found([_recorded(holder, state=state)], [holder], []) == []


def test_slot_whose_holder_is_to_end_says_so_until_it_may_stay_or_has_ended() -> None:
    holder = _holder("g1")
    known = _recorded(holder, state=SlotState.LEASED, job_uuid="j")
    slots = {known.slot_id: known}
    (marked,) = corrections(slots, _kept(holder), [], {"alloc-1": "node gpu1 is drained"})
    leaving = replace(known, leaving="node gpu1 is drained")
    assert marked.slot == leaving
    (stays,) = _found([leaving], [holder], [])
    assert stays.slot == known
    (followed,) = _found([leaving], [_holder("g1", allocation="alloc-2")], [])
    (vacated,) = _found([leaving], [], [holder])
    assert followed.slot is not None
    assert vacated.slot is not None
    assert (followed.slot.leaving, vacated.slot.leaving) == ("", "")


def test_slot_keeps_its_owner_under_its_next_holder() -> None:
    known = _recorded(_holder("g1"), state=SlotState.LEASED, job_uuid="j")
    (found,) = _found([known], [_holder("g1", allocation="alloc-2")], [])
    assert found.slot == replace(known, allocation_id="alloc-2", state=SlotState.READY, job_uuid="", says="")
    assert found.drift == "it has another holder"


@pytest.mark.parametrize(
    ("holders", "ended", "says"),
    [
        ([_holder("g1", standing=Standing.DRAINED)], "drained", "its node was drained"),
        ([_holder("g1", standing=Standing.FAILED)], "failed", "its holder failed"),
        ([], "lost", "Nomad knows nothing of its holder"),
    ],
)
def test_slot_without_a_holder_is_vacant_and_says_why(holders: list[Holder], ended: str, says: str) -> None:
    known = _recorded(_holder("g1"), state=SlotState.LEASED, job_uuid="j")
    (found,) = _found([known], [], holders)
    vacant = replace(known, allocation_id="", state=SlotState.VACANT, job_uuid="")
    assert found.slot == replace(vacant, ended=ended, says=says)


def test_vacant_slot_stays_as_it_is() -> None:
    vacant = _recorded(_holder("g1"), allocation_id="", state=SlotState.VACANT, says="its holder failed")
    assert _found([vacant], [], []) == []


def test_vacant_slot_that_is_kept_again_is_ready_and_says_nothing() -> None:
    holder = _holder("g1")
    vacant = _recorded(holder, allocation_id="", state=SlotState.VACANT, says="its holder failed")
    (found,) = _found([vacant], [holder], [])
    assert found.slot is not None
    assert (found.slot.state, found.slot.says, found.slot.owner) == (SlotState.READY, "", "A")


def test_record_whose_devices_are_in_another_slot_is_removed() -> None:
    old = _recorded(_holder("g1", "g2"))
    found = _found([old], [_holder("g1", allocation="alloc-2")], [])
    assert [(each.slot_id, each.slot is None) for each in found] == [("gpu1:g1", False), ("gpu1:g1+g2", True)]
    assert found[1].drift == "its devices are in gpu1:g1 now"


def test_same_device_name_on_another_node_is_another_device() -> None:
    vacant = _recorded(_holder("g1"), allocation_id="", state=SlotState.VACANT)
    assert [each.slot_id for each in _found([vacant], [_holder("g1", node="gpu2")], [])] == ["gpu2:g1"]


@pytest.mark.parametrize(
    "altered",
    [{"devices": ("g7",)}, {"executor_class": "other"}, {"node": "gpu9"}],
    ids=lambda each: str(each),
)
def test_altered_record_is_put_right_and_keeps_owner_and_lease(altered: dict[str, object]) -> None:
    holder = _holder("g1")
    right = _recorded(holder, state=SlotState.LEASED, job_uuid="j")
    (found,) = _found([replace(right, **altered)], [holder], [])  # type: ignore[arg-type]  # fields of a slot
    assert found.slot == right
    assert found.drift == "it was altered"


_HOLDERS = st.lists(
    st.builds(
        _holder,
        st.sampled_from(["g1", "g2", "g3"]),
        allocation=st.sampled_from(["alloc-1", "alloc-2"]),
        node=st.sampled_from(["gpu1", "gpu2"]),
    ),
    unique_by=lambda holder: (holder.node, holder.devices),
)


@given(_HOLDERS, _HOLDERS, st.sampled_from(SlotState))
def test_corrected_records_need_no_correction(
    before: list[Holder], kept: list[Holder], state: SlotState
) -> None:
    slots = {slot.slot_id: slot for slot in (_recorded(holder, state=state) for holder in before)}
    for correction in corrections(slots, _kept(*kept), []):
        if correction.slot is None:
            del slots[correction.slot_id]
        else:
            slots[correction.slot_id] = correction.slot
    assert corrections(slots, _kept(*kept), []) == []
    assert slots.keys() >= _kept(*kept).keys()
