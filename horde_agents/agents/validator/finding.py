"""Finds a miner for a job: gathers the facts, asks ``routing``, and lets the job wait where it may."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from horde_agents.agents.validator import records
from horde_agents.agents.validator.parts import LiveJob, Parts
from horde_agents.agents.validator.polls import Polls
from horde_agents.agents.validator.routing import Choice, Facts, Miner, NoMiner, free_executors, route
from horde_agents.agents.validator.waiting import Place, RoomFull
from horde_agents.protocol.signing import TRUSTED_MINER_HOTKEY
from horde_agents.runtime.clock import now
from horde_agents.store import access


@dataclass(frozen=True, slots=True)
class Finding:
    """The way to a miner."""

    parts: Parts
    polls: Polls

    async def find(self, live: LiveJob) -> Choice | NoMiner:
        """A miner for the job's next attempt, now or, where its user lets it wait, later.

        Between the decision and the return nothing else runs, so that the caller can claim what was found.
        """
        if live.request.on_trusted_miner or live.miner_hotkey is not None:
            return self._fixed(live)
        if not self.parts.waiting.is_wanted(live.classes):
            found = await self._choose(live)
            if isinstance(found, NoMiner):
                await self.polls.ask_unknown()
                found = await self._choose(live)
            if isinstance(found, Choice) or not live.may_wait:
                return found
        return await self._in_turn(live)

    async def others(self, executor_class: str, without: frozenset[str]) -> tuple[Miner, ...]:
        """Every miner ``without`` these that could run a check of the class now, in a drawn order.

        None when the check would take the last free executor of the class, which is left to users.
        """
        facts = await self._facts((executor_class,), without)
        miners = self.parts.directory.miners()
        if free_executors(miners, executor_class, facts) <= 1:
            return ()
        order = route(miners, (executor_class,), facts, self.parts.rng)
        return () if isinstance(order, NoMiner) else tuple(choice.miner for choice in order)

    async def _in_turn(self, live: LiveJob) -> Choice | NoMiner:
        """Wait in the queue; one that may not wait looks once, after those before it."""
        waiting = self.parts.waiting
        classes = frozenset(live.classes)
        user = live.request.signature.signatory
        place = Place(live.uuid, user, classes, live.received_at, live.waits_until, bool(live.given_up))
        found: Choice | NoMiner = NoMiner(
            {}, says="Other jobs wait for the executors that could take the job."
        )
        try:
            with waiting.placed(place), self.parts.metrics.waiting_jobs.track_inprogress():
                while await waiting.turn(place):
                    found = await self._choose(live)
                    if isinstance(found, Choice):
                        return found
                    place.has_tried_any = bool(live.given_up)
                    waiting.failed(place)
        except RoomFull as full:
            return replace(found, says=str(full)) if isinstance(found, NoMiner) else found
        return found

    async def _choose(self, live: LiveJob) -> Choice | NoMiner:
        order = await self._route(self._classes(live), live.given_up)
        return order if isinstance(order, NoMiner) else order[0]

    async def _route(self, classes: tuple[str, ...], tried: frozenset[str]) -> tuple[Choice, ...] | NoMiner:
        facts = await self._facts(classes, tried)
        miners = self.parts.directory.miners()
        order = route(miners, classes, facts, self.parts.rng)
        if isinstance(order, NoMiner):
            return replace(order, free_at=self._free_at(miners, classes, facts))
        return order

    async def _facts(self, classes: tuple[str, ...], tried: frozenset[str]) -> Facts:
        at = now()
        async with self.parts.store.reading() as connection:
            listed = await access.entries(connection, records.BLACKLIST, at)
        barred = {entry.hotkey: entry.note for entry in listed.values() if not entry.allowed}
        return facts_now(self.parts, classes, barred, tried, at)

    def _classes(self, live: LiveJob) -> tuple[str, ...]:
        """The user's classes, and those that the operator lets stand in for them."""
        substitutes = self.parts.settings.class_substitutes
        wanted = dict.fromkeys(live.classes)
        for name in live.classes:
            wanted.update(dict.fromkeys(substitutes.get(name, ())))
        return tuple(wanted)

    def _free_at(self, miners: list[Miner], classes: tuple[str, ...], facts: Facts) -> datetime | None:
        """When the first executor is free by the receipts, among the miners that may have the job."""
        able = [miner.hotkey for miner in miners if miner.hotkey not in facts.barred.keys() | facts.tried]
        ends = [
            book.earliest_end(able, classes) for book in (self.parts.occupancy, self.parts.others_occupancy)
        ]
        return min((end for end in ends if end is not None), default=None)

    def _fixed(self, live: LiveJob) -> Choice | NoMiner:
        """The one miner that the job is for."""
        directory, executor_class = self.parts.directory, live.request.executor_class
        if live.miner_hotkey is None:
            trusted = directory.trusted
            if trusted is None or trusted.hotkey in live.tried:
                return NoMiner({TRUSTED_MINER_HOTKEY: "the trusted miner is not configured, or has failed"})
            return Choice(trusted, executor_class)
        miner = directory.find(live.miner_hotkey)
        if miner is None:
            return NoMiner({live.miner_hotkey: "is in neither the metagraph nor the settings"})
        if miner.hotkey in live.tried:
            return NoMiner({miner.hotkey: "has had an attempt of this job"})
        return Choice(miner, executor_class)


def facts_now(
    parts: Parts,
    classes: tuple[str, ...],
    barred: Mapping[str, str],
    tried: frozenset[str],
    at: datetime,
) -> Facts:
    """What routing has to know."""
    manifests, favour = parts.manifests.counts(), parts.reliability.factors(at.timestamp())
    for hotkey, factor in parts.shares.favour(manifests, parts.knobs(), at).items():
        favour[hotkey] = favour.get(hotkey, 1.0) * factor
    return Facts(
        manifests,
        {name: _busy(parts, name, at) for name in classes},
        barred,
        tried,
        parts.prices.all(),
        favour,
    )


def _busy(parts: Parts, executor_class: str, at: datetime) -> Mapping[str, int]:
    own = parts.occupancy.counts(executor_class, at)
    others = parts.others_occupancy.counts(executor_class, at)
    if not others:
        return own
    return {hotkey: own.get(hotkey, 0) + others.get(hotkey, 0) for hotkey in own.keys() | others.keys()}
