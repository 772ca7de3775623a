"""What doctor says of a horde's shared records."""

from dataclasses import replace

from horde_agents.cli.checks.finding import Finding
from horde_agents.cli.checks.placement import placement_findings
from horde_agents.placement.coordination import Session
from horde_agents.placement.records import Garbage, HordeState, Member, Slot, SlotState

ALICE, BOB = "5AliceAliceAlice", "5BobBobBobBob"
SLOT = Slot("gpu1:GPU-a", "always_on.gpu.h100", "gpu1", ("GPU-a",), ALICE, 7, 1, SlotState.READY)
WELL = HordeState(
    slots={SLOT.slot_id: SLOT},
    members={ALICE: Member(ALICE, 7, "a")},
    roles={"keeper": (ALICE, Session("s")), "choreographer": (ALICE, Session("s"))},
)


def findings(state: HordeState) -> list[Finding]:
    return list(placement_findings("ours", state, has_keeper=True))


def wrong(state: HordeState) -> str:
    """What is wrong, in one text."""
    return "\n".join(f"{each.check}: {each.says}" for each in findings(state) if not each.fine)


def test_nothing_is_wrong_with_a_healthy_horde() -> None:
    assert wrong(WELL) == ""
    assert "1 live: UID 7 5AliceAl" in [each.says for each in findings(WELL)]


def test_a_horde_without_a_miner_is_named() -> None:
    assert "no miner of horde ours runs" in wrong(replace(WELL, slots={}, members={}))


def test_a_role_that_a_session_of_no_miner_has_is_named() -> None:
    said = wrong(replace(WELL, roles={**WELL.roles, "choreographer": ("mine", Session("s9"))}))
    assert "choreographer: mine, no miner that lives, has the role, so no slot moves" in said
    assert "End the session s9" in said


def test_a_role_that_nobody_has_is_named_with_what_stays_undone() -> None:
    said = wrong(replace(WELL, roles={"keeper": (ALICE, None)}))
    assert "keeper: no miner has the role, so no holder is started" in said
    assert "choreographer: no miner has the role, so no slot moves" in said


def test_a_key_that_was_edited_by_hand_is_named_with_the_remedy() -> None:
    garbage = Garbage("horde/ours/slots/gpu1:GPU-b", "Invalid JSON")
    said = wrong(replace(WELL, garbage=(garbage,)))
    assert said.startswith("placement key: horde/ours/slots/gpu1:GPU-b cannot be read (Invalid JSON)")
    assert "mend or delete" in said


def test_overlapping_device_sets_are_named_once() -> None:
    both = replace(SLOT, slot_id="gpu1:GPU-a+GPU-b", devices=("GPU-a", "GPU-b"))
    said = wrong(replace(WELL, slots={SLOT.slot_id: SLOT, both.slot_id: both}))
    assert said.count("device GPU-a is in several slots: gpu1:GPU-a, gpu1:GPU-a+GPU-b") == 1


def test_slots_of_a_uid_without_a_miner_are_named() -> None:
    theirs = replace(SLOT, owner=BOB, uid=9, pinned=True)
    said = wrong(replace(WELL, slots={theirs.slot_id: theirs}))
    assert "1 serve UID 9 5BobBobB, whose miner is away: gpu1:GPU-a" in said
    assert "1 of them are pinned" in said
