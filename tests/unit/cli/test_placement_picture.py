"""The picture of a horde stays within its width and shows what is wrong."""

from dataclasses import replace

from horde_agents.cli.placement_picture import picture, pool_lines
from horde_agents.placement.records import Garbage, HordeState, SlotState
from tests.unit.placement.hordes import horde, slot


def test_many_slots_are_cut_with_a_count() -> None:
    lines = picture("h", horde([slot(number) for number in range(100)]))
    assert f"UID 0    A         {'■' * 40} +60" in lines
    assert max(map(len, lines)) <= 80


def test_absent_owner_slots_without_one_and_faults_are_shown() -> None:
    clashing = [slot(n, "C", SlotState.CLASHING, devices=("g1",)) for n in (1, 2)]
    state = replace(horde([slot(0, ""), *clashing]), garbage=(Garbage("horde/h/slots/x", "Invalid JSON"),))
    lines = picture("h", state)
    assert "UID ?    C         ✗✗  away" in lines
    assert "UID -    nobody    ■" in lines
    assert lines[-2].startswith("CLASH: device g1")
    assert lines[-1].startswith("UNREADABLE: horde/h/slots/x: Invalid JSON")


def test_empty_horde_is_a_picture_too() -> None:
    assert picture("h", HordeState())[:2] == ["horde h: 0 slots, 0 living miners", "choreographer none"]
    assert len(list(pool_lines(HordeState()))) == 1
