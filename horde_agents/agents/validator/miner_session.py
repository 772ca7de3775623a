"""Speaks with one miner about one attempt until it is over: offers, answers, reconnects (wire notes C).

What a report means is decided by ``attempt.py``; this file knows connections and time limits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.miner_link import (
    LinkLost,
    MinerBroken,
    MinerLink,
    MinerUnreachable,
    linked,
)
from horde_agents.agents.validator.parts import Parts
from horde_agents.agents.validator.receipt_delivery import Delivery
from horde_agents.agents.validator.to_miner import ToMiner
from horde_agents.jobs import events
from horde_agents.jobs.faults import HordeFaultReason
from horde_agents.jobs.states import JobState, Role
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol import validator_miner as wire
from horde_agents.protocol.attempt_reports import Report, event_of
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.frames import render
from horde_agents.runtime.backoff import delays_s
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 4.0
#: A connection that lived this long shows that the miner is well: pauses begin anew.
_STEADY_S: Final = 5.0

_log = get_logger(__name__)


@dataclass(slots=True)
class MinerSession:
    """The conversation of one attempt; ``run`` returns when the attempt is over."""

    parts: Parts
    attempt: Attempt
    _link: MinerLink | None = None
    _clock: asyncio.Timeout | None = None
    _trouble: str = ""
    _extensions: frozenset[Extension] = field(default_factory=frozenset)
    _reachable_until_s: float = 0.0

    async def run(self) -> None:
        """Bring the attempt to its end, whatever the miner does."""
        self._reachable_until_s = monotonic_s() + self.parts.settings.connect_s
        delays = delays_s(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, self.parts.rng)
        while not self.attempt.is_over:
            began_s = monotonic_s()
            await self._connect_once()
            if monotonic_s() - began_s > _STEADY_S:
                delays = delays_s(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, self.parts.rng)
            if not self.attempt.is_over:
                await self._pause(next(delays))

    async def cancel(self) -> bool:
        """Pass on that the user took the job back; False when this miner cannot be told."""
        if self.attempt.record.state is not JobState.SENT and Extension.CANCEL not in self._extensions:
            return False
        self.attempt.cancel()
        if self._link is not None:
            await self._send_cancel(self._link)
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(self._loop_deadline())
        return True

    async def _connect_once(self) -> None:
        limit_s = max(min(self._reachable_until_s, self._hard_limit_s()) - monotonic_s(), 0.1)
        try:
            async with linked(self.parts.http, self.parts.signer, self.attempt.miner, limit_s) as link:
                delivery = Delivery(self.parts, link, self.attempt.key.uuid)
                self._link = link
                try:
                    await self._converse(link, delivery)
                    await delivery.settle()
                finally:
                    self._link = None
                    if link.extensions is not None:  # it was well: an absence begins now
                        self._reachable_until_s = monotonic_s() + self.parts.settings.miner_absence_s
            delivery.closed()
        except (MinerUnreachable, LinkLost) as error:
            self._trouble = str(error)
            _log.warning("no link", job=self.attempt.live.uuid, attempt=self.attempt.key.uuid, why=str(error))
        except MinerBroken as error:
            await self.attempt.fail(HordeFaultReason.GENERIC_ERROR, str(error))

    async def _pause(self, pause_s: float) -> None:
        limit_s = min(self._reachable_until_s, self._hard_limit_s()) - monotonic_s()
        if limit_s > 0:
            await asyncio.sleep(min(pause_s, limit_s))
        elif self.attempt.was_cancelled:
            await self.attempt.fall_silent("")
        else:
            await self.attempt.fail(HordeFaultReason.MINER_CONNECTION_FAILED, self._trouble)

    def _hard_limit_s(self) -> float:
        """Until when a connection is of use: the stage's deadline, once the attempt was offered."""
        offered = self.attempt.is_offered or self.attempt.was_cancelled
        return self.attempt.deadline_s if offered else self._reachable_until_s

    async def _converse(self, link: MinerLink, delivery: Delivery) -> None:
        is_first = not self.attempt.is_offered
        if is_first and not self.attempt.was_cancelled:
            await link.send(await self.attempt.offer())
        is_greeted = has_payload = False
        while not self.attempt.is_over:
            frame = await self._next_frame(link)
            if frame is None:
                await self._send_all(delivery, await self._out_of_time(link))
            elif isinstance(frame, wire.V0ExecutorManifestRequest):
                await self.parts.manifests.note(link.miner.hotkey, link.manifest)
                self.parts.prices.note(link.miner.hotkey, link.prices)
                self.parts.announced[link.miner.hotkey] = link.extensions or frozenset()
                if not is_greeted:
                    await self._greet(link, delivery, is_first=is_first)
                is_greeted = True
            elif isinstance(frame, wire.HordeReceiptStored):
                delivery.take(frame)
            elif self._is_about_us(frame):
                answers = await self._take(frame)
                await self._send_all(delivery, answers)
                if isinstance(frame, frames.V0ExecutorReadyRequest) and not (has_payload or is_first):
                    await self._repeat_payload(link, answers)
                    has_payload = True

    async def _next_frame(self, link: MinerLink) -> wire.FromMiner | None:
        """The miner's next frame, or ``None`` when the stage's time is over."""
        try:
            async with asyncio.timeout_at(self._loop_deadline()) as self._clock:
                return await link.receive()
        except TimeoutError:
            return None
        finally:
            self._clock = None

    async def _out_of_time(self, link: MinerLink) -> list[ToMiner]:
        """Silence is the stage's failure; on a link that never got a manifest, the connection's."""
        trouble = link.complaint or self._trouble
        if link.extensions is None and trouble and not self.attempt.was_cancelled:
            return await self.attempt.fail(HordeFaultReason.MINER_CONNECTION_FAILED, trouble)
        return await self.attempt.fall_silent(trouble)

    async def _greet(self, link: MinerLink, delivery: Delivery, *, is_first: bool) -> None:
        """The miner has told what it offers and knows: it is well, and may need reminding."""
        self._extensions = link.extensions or frozenset()
        if not is_first and link.announces(Extension.RESUME):
            await link.send(self.attempt.offer_again())
        if self.attempt.was_cancelled:
            await self._send_cancel(link)
        if self.attempt.live.is_organic:  # before a batch every miner is polled, which brings it what is kept
            await delivery.send_kept()

    async def _send_all(self, delivery: Delivery, answers: Sequence[ToMiner]) -> None:
        for answer in answers:
            await delivery.send(answer)

    async def _repeat_payload(self, link: MinerLink, answers: Sequence[ToMiner]) -> None:
        """After a reconnection the miner may lack the payload; one that has it ignores the second."""
        gate = self.attempt.live.gate
        waits = gate is not None and gate.fired_at_s is None
        if not answers and not self.attempt.is_over and not waits:
            await link.send(self.attempt.payload())

    async def send_payload(self, text: str) -> bool:
        """Write a payload that has waited; False when there is no link at this instant."""
        if self._link is None:
            return False
        try:
            await self._link.send(text)
        except LinkLost:
            return False
        return True

    async def _send_cancel(self, link: MinerLink) -> None:
        if not link.announces(Extension.CANCEL):
            return
        cancel = frames.HordeCancelJob(job_uuid=self.attempt.key.uuid, message="The user took the job back.")
        try:
            await link.send(render(cancel))
        except LinkLost as error:
            _log.warning("cancel was not sent; it will be on the next link", why=str(error))

    def _is_about_us(self, frame: wire.FromMiner) -> bool:
        uuid = getattr(frame, "job_uuid", None)
        if uuid is not None and uuid != self.attempt.key.uuid:
            _log.info("frame of another attempt", peer=self.attempt.miner.hotkey, other=str(uuid)[:64])
            return False
        return uuid is not None

    async def _take(self, frame: wire.FromMiner) -> list[ToMiner]:
        match frame:
            case wire.HordeProgress():
                if Extension.PROGRESS not in self._extensions:  # a stock peer would not know the answer
                    return []
                return await self.attempt.alive(frame.run_us)
            case wire.V0AcceptJobRequest():
                return await self.attempt.report(events.Accepted(Role.MINER))
            case wire.V0DeclineJobRequest():
                declined = events.Declined(Role.MINER, frame.reason, frame.message, frame.context or {})
                return await self.attempt.report(declined, frame.receipts)
            case wire.V0ExecutorFailedRequest():
                reason = HordeFaultReason.EXECUTOR_SPINUP_FAILED
                return await self.attempt.report(events.HordeFailed(Role.MINER, reason, "no executor"))
            case frames.V0HordeFailedRequest():
                origin = Role.EXECUTOR if frame.reported_by is Role.EXECUTOR else Role.MINER
                return await self.attempt.report(event_of(frame, origin))
            case frames.V0StreamingJobReadyRequest():
                address = frame.ip or self.attempt.miner.host
                ready = events.StreamingReady(Role.MINER, frame.public_key, address, frame.port)
                return await self.attempt.report(ready)
            case _ if isinstance(frame, Report):
                return await self.attempt.report(event_of(frame, Role.MINER))
            case _:
                return []

    def _loop_deadline(self) -> float:
        """The stage's deadline on the event loop's clock."""
        return asyncio.get_running_loop().time() + self.attempt.deadline_s - monotonic_s()
