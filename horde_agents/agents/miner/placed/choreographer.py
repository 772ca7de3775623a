"""Moves slots between UIDs while this miner is the choreographer; every write is fenced by that role."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom
from typing import Final

from horde_agents.agents.miner.placed.view import PlacementView, next_change
from horde_agents.agents.miner.placed.writes import chunks, commit_each
from horde_agents.placement.coordination import (
    MAX_CHANGES,
    Change,
    CoordinationAway,
    CoordinationDenied,
    Delete,
    Held,
    Put,
)
from horde_agents.placement.dance import (
    DanceRules,
    Move,
    Why,
    clashes,
    dance_moves,
    homeless_moves,
    minimum_moves,
    next_main_hotkey,
)
from horde_agents.placement.records import (
    HordeState,
    MainHotkey,
    MoveRecord,
    Slot,
    SlotState,
    as_json,
    given_to,
)
from horde_agents.runtime import clock
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

#: Moves in one transaction: beside them go the fence and the line of history.
_CHUNK: Final = MAX_CHANGES - 2
_UNDER_WAY: Final = 4
_LOOK_S: Final = 2.0
_log = get_logger(__name__)


@dataclass(slots=True)
class Choreographer:
    """``cycle`` is the present cycle of the chain (none: unknown); the two after it say what dances then.

    ``moves`` counts what it has moved, by reason.
    """

    view: PlacementView
    hotkey: str
    rules: DanceRules
    owner_gone_s: float
    cycle: Callable[[], int | None]
    moves_slots: Callable[[], bool]
    changes_main_hotkey: Callable[[], bool]
    rng: Random = field(default_factory=SystemRandom)
    kept_history: int = 500
    moves: Counter[str] = field(default_factory=Counter)
    _absent_since_s: dict[str, float] = field(default_factory=dict)
    _ahead: int | None = None

    async def work(self, fence: Held) -> None:
        """Look after every change, and from time to time; one that fails is tried again.

        The first look, and one after a failure, is at a picture read for it: who had the role before, or a
        write of which no answer came, may have moved slots that would otherwise be moved once more.
        """
        is_known = False
        with self.view.changes() as changed:
            while True:
                try:
                    if not is_known:
                        await self.view.refresh()
                        is_known = True
                    await self._look(fence)
                except (CoordinationAway, CoordinationDenied) as error:
                    _log.warning("no moves now", why=str(error))
                    is_known = False
                    await asyncio.sleep(_LOOK_S)
                await next_change(changed, _LOOK_S)

    async def _look(self, fence: Held) -> None:
        if self.view.trouble is not None:
            return  # nothing moves on an old picture
        state = self.view.state
        turned, (away, gone) = self._cycle_turned(state), self._absent(state)
        if repairs := self._repairs(state):
            await commit_each(self.view.coordination, [self._put(slot, state) for slot in repairs], fence)
        elif homeless := homeless_moves(state, gone, self.rng):
            await self._move_all(homeless, state, fence)
        elif short := minimum_moves(state, self.rules, self.rng):
            await self._move_all(short, state, fence)
        elif (state.dance_wanted or turned) and not away:  # who is restarted takes part in the dance
            await self._dance(state, fence)
        else:
            return
        await self.view.refresh()  # the next look is at what came of it

    async def _dance(self, state: HordeState, fence: Held) -> None:
        moves, done, cycle = [], 0, self.cycle()
        if state.dance_wanted or self.moves_slots():
            moves = dance_moves(state, self.rules, cycle, self.rng)
            done = await self._move_all(moves, state, fence)
        if done < len(moves) and (cycle is not None or not done):
            return  # slots were leased meanwhile, or the role is lost: what the share has left moves next
        await self._note_dance(state, fence)
        await self._shorten_history(fence)

    async def _move_all(self, moves: Sequence[Move], state: HordeState, fence: Held) -> int:
        """Make ``moves`` in transactions of which some are under way together; how many it made."""
        room = asyncio.Semaphore(_UNDER_WAY)

        async def made(chunk: Sequence[Move]) -> int:
            async with room:
                return await self._move(chunk, state, fence)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(made(chunk)) for chunk in chunks(moves, _CHUNK)]
        except ExceptionGroup as errors:  # the store is away, or denies it, for all of them
            raise errors.exceptions[0] from errors
        done = sum(task.result() for task in tasks)
        if moves:
            _log.info("slots moved", wanted=len(moves), done=done, why=sorted({m.why.value for m in moves}))
        return done

    def _absent(self, state: HordeState) -> tuple[list[str], list[str]]:
        """Owners whose agent is away, and those that have been for longer than the setting."""
        owners = {slot.owner for slot in state.slots.values() if slot.owner} - state.members.keys()
        self._absent_since_s = {hotkey: self._absent_since_s.get(hotkey, monotonic_s()) for hotkey in owners}
        gone = [
            hotkey
            for hotkey, since_s in self._absent_since_s.items()
            if monotonic_s() - since_s >= self.owner_gone_s
        ]
        return sorted(owners.difference(gone)), gone

    def _cycle_turned(self, state: HordeState) -> bool:
        cycle, last = self.cycle(), state.last_dance_cycle
        if cycle is not None and last > cycle + 1 and last != self._ahead:
            key = self.view.keys.last_dance
            _log.warning(
                "no dance until the cycle of the last one; delete its key", key=key, last=last, now=cycle
            )
            self._ahead = last
        return cycle is not None and cycle > last

    async def _move(self, moves: Sequence[Move], state: HordeState, fence: Held) -> int:
        """Make ``moves``; where one does not fit any more, the others are made without it."""
        changes: list[Change] = [fence]
        changes += [self._put(self._moved(move), state) for move in moves]
        changes.append(self._history(moves))
        if await self.view.coordination.commit(changes):
            self.moves.update(move.why.value for move in moves)
            return len(moves)
        if len(moves) == 1 or not await self.view.coordination.commit([fence]):
            return 0  # leased meanwhile, or the role is lost: it is tried again after the next look
        half = len(moves) // 2
        return await self._move(moves[:half], state, fence) + await self._move(moves[half:], state, fence)

    def _put(self, slot: Slot, state: HordeState) -> Put:
        key = self.view.keys.slot(slot.slot_id)
        return Put(key, as_json(slot), state.indices[key])

    def _moved(self, move: Move) -> Slot:
        given, cycle = given_to(move.slot, move.to), self.cycle()
        if move.why is Why.DANCE and cycle is not None:
            given = replace(given, moved_cycle=cycle)
        if move.why is Why.OWNER_GONE and given.job_uuid:
            state = SlotState.READY if given.state is SlotState.LEASED else given.state
            given = replace(given, state=state, job_uuid="")
        return given

    def _history(self, moves: Sequence[Move]) -> Put:
        at = clock.iso(clock.now())
        lines = tuple((move.slot.slot_id, move.slot.owner, move.to.hotkey) for move in moves)
        why = ", ".join(sorted({move.why.value for move in moves}))
        key = f"{self.view.keys.history}{at}-{self.rng.getrandbits(32):08x}"
        return Put(key, as_json(MoveRecord(at, self.hotkey, why, lines)), 0)

    async def _note_dance(self, state: HordeState, fence: Held) -> None:
        changes: list[Change] = [fence]
        keys = self.view.keys
        if state.dance_wanted:
            changes.append(Delete(keys.dance, state.indices[keys.dance]))
        if (cycle := self.cycle()) is not None:
            changes.append(Put(keys.last_dance, json.dumps(cycle), None))
            if self.changes_main_hotkey() and cycle > state.last_dance_cycle:
                chosen = next_main_hotkey(state, self.rng) or self.hotkey
                changes.append(Put(keys.main_hotkey, as_json(MainHotkey(chosen, cycle)), None))
        await self.view.coordination.commit(changes)

    async def _shorten_history(self, fence: Held) -> None:
        """The oldest lines go, so that the store does not grow for ever."""
        lines = (await self.view.coordination.snapshot(self.view.keys.history)).entries
        oldest = sorted(lines)[: max(len(lines) - self.kept_history, 0)]
        deletes = [Delete(key, lines[key].index) for key in oldest]
        await commit_each(self.view.coordination, deletes, fence)

    def _repairs(self, state: HordeState) -> list[Slot]:
        """Records to write anew: marks of clashes, and UIDs, which are known late and may change."""
        found, repairs = clashes(state.slots), []
        for slot in state.slots.values():
            owner = state.members.get(slot.owner)
            wanted = replace(slot, uid=owner.uid) if owner and owner.uid is not None else slot
            if slot.slot_id in found and slot.state is not SlotState.CLASHING:
                _log.error("slots clash, none of them is served", why=found[slot.slot_id])
                wanted = replace(wanted, state=SlotState.CLASHING)
            elif slot.slot_id not in found and slot.state is SlotState.CLASHING:
                wanted = replace(wanted, state=SlotState.LEASED if slot.job_uuid else SlotState.READY)
            if wanted != slot:
                repairs.append(wanted)
        return repairs
