"""Runs part of the completed organic jobs again at another miner of the class, and compares the outputs.

Whoever is found wrong by two others gets a strike with evidence; strikes on different jobs bar it a while.
All of a newcomer's jobs are checked, few of a miner whose results were confirmed again and again.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator import records
from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.finding import Finding
from horde_agents.agents.validator.judging import (
    Output,
    Ruling,
    chance,
    has_output,
    ruling,
    why_not_comparable,
)
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.reruns import Reruns
from horde_agents.jobs.events import Finished
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.runtime.clock import monotonic_s, now
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.supervisor import Supervisor
from horde_agents.store import cross_checks
from horde_agents.store.cross_checks import DISAGREED, SAMPLE, UNDECIDED, CrossCheck

_DAY: Final = timedelta(hours=24)
#: Jobs that are being compared at one time; further ones are not looked at.
_MOST_AT_ONCE: Final = 16

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Done:
    """A job that was completed, at whom, of which class."""

    request: V2JobRequest
    executor_class: str
    cost_s: int
    first: Output


@dataclass(slots=True)
class CrossValidation:
    """The comparing of results; what was spent on it is kept in memory."""

    parts: Parts
    finding: Finding
    reruns: Reruns
    supervisor: Supervisor
    _at_once: int = 0
    _spent: deque[tuple[float, int]] = field(default_factory=deque)

    def consider(self, live: LiveJob, attempt: Attempt) -> None:
        """A miner has completed a job of a user: perhaps it is run again."""
        last = attempt.record.history[-1]
        if not isinstance(last, Finished) or self._why_not(live, attempt, last) is not None:
            return
        first = Output(attempt.miner.hotkey, last)
        done = _Done(live.request, live.request.executor_class, live.plan.accepted_ttl_s, first)
        self.supervisor.spawn(f"comparison of {live.uuid}", self._compare(done))

    async def forget_open(self) -> None:
        """On start: comparisons that an earlier process did not finish come to nothing."""
        async with self.parts.store.reading() as connection:
            left = [check for check in await cross_checks.still_open(connection) if check.reason == SAMPLE]
        for check in left:
            await self._end(check, Ruling(UNDECIDED, "the validator was restarted"), [])

    def _why_not(self, live: LiveJob, attempt: Attempt, last: Finished) -> str | None:
        settings, request = self.parts.settings, live.request
        if not settings.cross_validation or live.source == records.OWN:
            return "not a user's, or switched off"
        if attempt.miner.hotkey == TRUSTED_MINER_HOTKEY:
            return "the trusted miner is what others are compared with"
        if request.env and not settings.cross_validate_env:
            return "it has an environment, which may hold secrets"
        if live.plan.limits.running_s > settings.cross_validation_longest_s:
            return "it may take too long"
        if not has_output(last) or self._at_once >= _MOST_AT_ONCE:
            return "nothing to compare, or no hands free"
        return why_not_comparable(request)

    async def _compare(self, done: _Done) -> None:
        self._at_once += 1
        try:
            second = await self._second(done)
            if second is None:
                return
            check = CrossCheck(
                str(uuid4()), done.request.uuid, SAMPLE, done.executor_class, done.first.miner_hotkey, now()
            )
            await self.parts.store.writer.run(lambda connection: cross_checks.add(connection, check))
            outputs, result = await self._run(done, second)
            await self._end(check, result, outputs)
        finally:
            self._at_once -= 1

    async def _second(self, done: _Done) -> str | None:
        """The drawn miner that runs the job again, if any."""
        knobs = self.parts.knobs()
        trusted_share = Fraction(knobs.trusted_validation_share)
        has_trusted = self.parts.directory.trusted is not None
        if has_trusted and self.parts.rng.random() < trusted_share and self._pays_for(done):
            return TRUSTED_MINER_HOTKEY
        async with self.parts.store.reading() as connection:
            streak = await cross_checks.clean_streak(connection, done.first.miner_hotkey, done.executor_class)
        if self.parts.rng.random() >= chance(Fraction(knobs.cross_validation_share), streak):
            return None
        return await self._another(done, {done.first.miner_hotkey})

    async def _run(self, done: _Done, second: str) -> tuple[list[Output], Ruling]:
        outputs = [done.first]
        seen = {done.first.miner_hotkey}
        other: str | None = second
        while other is not None:
            seen.add(other)
            output = await self.reruns.run(done.request, done.executor_class, other)
            if output is None:
                return outputs, Ruling(UNDECIDED, f"{other} did not bring the job to its end")
            outputs.append(output)
            result = ruling(outputs[0], outputs[1:])
            if result is not None:
                return outputs, result
            other = await self._third(done, seen)
        return outputs, Ruling(UNDECIDED, "they differ, and nobody could decide between them")

    async def _third(self, done: _Done, seen: set[str]) -> str | None:
        has_trusted = self.parts.directory.trusted is not None
        if has_trusted and TRUSTED_MINER_HOTKEY not in seen and self._pays_for(done):
            return TRUSTED_MINER_HOTKEY
        return await self._another(done, seen)

    async def _another(self, done: _Done, without: set[str]) -> str | None:
        """A drawn miner of the class that is free, where no user waits for it."""
        if self.parts.waiting.is_wanted([done.executor_class]):
            return None
        others = await self.finding.others(done.executor_class, frozenset(without))
        return others[0].hotkey if others and self._pays_for(done) else None

    def _pays_for(self, done: _Done) -> bool:
        """Whether today's seconds allow one run more; they are spent with the answer."""
        at_s = monotonic_s()
        while self._spent and self._spent[0][0] < at_s - _DAY.total_seconds():
            self._spent.popleft()
        if (
            sum(cost_s for _, cost_s in self._spent) + done.cost_s
            > self.parts.settings.cross_validation_daily_s
        ):
            return False
        self._spent.append((at_s, done.cost_s))
        return True

    async def _end(self, check: CrossCheck, result: Ruling, outputs: Sequence[Output]) -> None:
        at, settings = now(), self.parts.settings
        evidence = evidence_of(result, outputs)

        async def store(connection: AsyncConnection) -> None:
            await cross_checks.end(connection, check.uuid, result.state, result.loser, evidence, at)
            if result.loser:
                strikes = await cross_checks.strikes(connection, result.loser, at - _DAY)
                if len(strikes) >= settings.strikes_that_bar:
                    jobs = ", ".join(strike.job_uuid for strike in strikes[-3:])
                    note = f"its results were wrong {len(strikes)} times in 24 h (jobs {jobs})"
                    span_s = settings.cheated_pause_s
                    await records.pause(connection, records.Pause(result.loser, note, span_s, span_s), at)

        await self.parts.store.writer.run(store)
        self.parts.metrics.comparisons.labels(check.reason, result.state).inc()
        if result.state == DISAGREED:
            self.parts.reliability.incident(result.loser, at.timestamp())
        _log.info(
            "results compared", job=check.job_uuid, check=check.uuid, outcome=result.state, why=result.why
        )


def evidence_of(result: Ruling, outputs: Sequence[Output]) -> str:
    """The bundle that is kept with a check."""
    return json.dumps({"why": result.why, "outputs": [output.evidence() for output in outputs]})
