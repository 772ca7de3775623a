"""Stake-fair sharing at the validator: what we had of each miner, and whether its declines for share hold.

Routing prefers miners at which we are below our share. A decline for share that can be checked and holds is
excused; one that does not hold is an incident of its miner.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from horde_agents.agents.validator.directory import Directory
from horde_agents.jobs.events import Declined
from horde_agents.protocol.signing import Hotkey, from_hex, verify
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import signed_text
from horde_agents.receipts.usage import UsageWindow, usage_by_receipts
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.share_claims import SHARE, Known, ShareClaim, read_claim, why_unfair, wishes
from horde_agents.scoring.shares import fair_shares
from horde_agents.store import attempts, receipts
from horde_agents.store.engine import Store

#: Wishes of others that are remembered as having excused a decline.
_MOST_WISHES: Final = 10_000
#: Wishes whose signatures are checked in one turn of the event loop: users' jobs go on in between.
_CHECKED_AT_ONCE: Final = 16
#: What being over our share leaves of a miner's chance at least.
_LEAST_FAVOUR: Final = 0.25
#: Seconds for which such factors are used again: they move slowly, and every decision asks for them.
_FAVOUR_KEPT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ShareDecline:
    """A decline that says that we are over our share."""

    miner_hotkey: str
    executor_class: str
    context: Mapping[str, Any]
    at: datetime


@dataclass(slots=True)
class OwnShares:
    """Our own use by miner and class over ``window_s``, and the wishes of others that excused declines."""

    window_s: float
    own_hotkey: Hotkey
    directory: Directory
    _of: dict[str, UsageWindow] = field(default_factory=dict)
    _used_wishes: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    _favour: tuple[float, Mapping[str, float]] | None = None
    _shared: tuple[Mapping[str, int], tuple[Fraction, Fraction], Fraction] | None = None

    async def load(self, store: Store, at: datetime) -> None:
        """Take up the attempts of an earlier process."""
        since = at - timedelta(seconds=self.window_s)
        async with store.reading() as connection:
            ended = await attempts.ended_since(connection, since)
            still_open = await attempts.unfinished(connection)
        for row in sorted(ended, key=lambda each: each.ended_at):
            if not isinstance(row.last, Declined):
                self.began(row.uuid, row.miner_hotkey, row.executor_class, row.created_at)
                self.ended(row.uuid, row.miner_hotkey, row.ended_at)
        for attempt in still_open:
            self.began(attempt.uuid, attempt.miner_hotkey, attempt.executor_class, attempt.created_at)

    def began(self, attempt_uuid: str, miner_hotkey: str, executor_class: str, at: datetime) -> None:
        """A miner has taken an attempt of ours."""
        window = self._of.setdefault(miner_hotkey, UsageWindow(self.window_s))
        window.began(attempt_uuid, executor_class, at.timestamp())

    def ended(self, attempt_uuid: str, miner_hotkey: str, at: datetime) -> None:
        """An attempt is over; one that was never taken changes nothing."""
        window = self._of.get(miner_hotkey)
        if window is not None:
            window.ended(attempt_uuid, at.timestamp())

    def usage_s(self, miner_hotkey: str, at: datetime) -> Mapping[str, int]:
        """Slot-seconds that we have had of a miner lately, by class."""
        window = self._of.get(miner_hotkey)
        return window.usage_s(at.timestamp()) if window is not None else {}

    def own_share(self, knobs: Configuration) -> Fraction | None:
        """Our share among all validators; ``None`` while no stakes are known."""
        stakes_rao, pool = self.directory.stake_rao, pool_of(knobs)
        if self.own_hotkey not in stakes_rao:
            return None
        if self._shared is None or self._shared[0] is not stakes_rao or self._shared[1] != pool:
            self._shared = (stakes_rao, pool, fair_shares(stakes_rao, *pool)[self.own_hotkey])
        return self._shared[2]

    def favour(
        self, manifests: Mapping[str, Mapping[str, int]], knobs: Configuration, at: datetime
    ) -> Mapping[str, float]:
        """By miner: 1 where we are within our share, less where we have had more; a few seconds old."""
        if self._favour is None or not 0 <= at.timestamp() - self._favour[0] < _FAVOUR_KEPT_S:
            self._favour = (at.timestamp(), self._favour_now(manifests, knobs, at))
        return self._favour[1]

    def _favour_now(
        self, manifests: Mapping[str, Mapping[str, int]], knobs: Configuration, at: datetime
    ) -> Mapping[str, float]:
        share = self.own_share(knobs)
        if share is None:
            return {}
        factors = {}
        for hotkey in self._of:
            used_s = sum(self.usage_s(hotkey, at).values())
            ours_s = float(share) * sum(manifests.get(hotkey, {}).values()) * self.window_s
            factors[hotkey] = min(max(ours_s / used_s, _LEAST_FAVOUR), 1.0) if used_s else 1.0
        return factors

    async def why_unfair(self, decline: ShareDecline, store: Store, knobs: Configuration) -> str | None:
        """Why a miner's decline for share does not hold; ``None`` when it does, which uses its wishes up."""
        claim, at = read_claim(decline.context), decline.at
        if claim is None:
            return "its numbers cannot be read"
        if claim.window_s > self.window_s:
            return f"it counts over {claim.window_s} s; {self.window_s:.0f} s is what we can check"
        published_s = await _published_s(store, claim, decline)
        known = Known(
            self.own_hotkey,
            decline.miner_hotkey,
            decline.executor_class,
            self.usage_s(decline.miner_hotkey, at).get(decline.executor_class, 0),
            published_s,
            self.directory.stake_rao,
            pool_of(knobs),
            frozenset(self._used_wishes),
            at,
        )
        why = why_unfair(claim, known, lambda _: True)
        if why is not None:
            return why
        asked = list(claim.asked.items())
        for first in range(0, len(asked), _CHECKED_AT_ONCE):
            await asyncio.sleep(0)
            part = claim.model_copy(update={"asked": dict(asked[first : first + _CHECKED_AT_ONCE])})
            # anew each time: another decline may have used the same wish meanwhile
            known = replace(known, used_wishes=frozenset(self._used_wishes))
            why = why_unfair(part, known, _is_signed)
            if why is None:
                self._use_up(wishes(claim))
                return None
        return why

    def _use_up(self, uuids: frozenset[str]) -> None:
        for uuid in sorted(uuids):
            self._used_wishes[uuid] = None
        while len(self._used_wishes) > _MOST_WISHES:
            self._used_wishes.popitem(last=False)


def is_for_share(event: object) -> bool:
    """Whether an event is a decline that names our share as its reason."""
    return isinstance(event, Declined) and event.context.get("reason") == SHARE


def pool_of(knobs: Configuration) -> tuple[Fraction, Fraction]:
    """The small pool's share, and the stake share below which it serves."""
    return Fraction(knobs.small_pool_share), Fraction(knobs.small_pool_stake_share)


async def _published_s(store: Store, claim: ShareClaim, decline: ShareDecline) -> dict[str, int]:
    """What those that come before have had of the miner, by the receipts that we know."""
    since = decline.at - timedelta(seconds=claim.window_s)
    async with store.reading() as connection:
        known = await receipts.of_validators(connection, decline.miner_hotkey, sorted(claim.asked), since)
    payloads = (receipt.payload for receipt in known)
    return usage_by_receipts(payloads, decline.executor_class, decline.at, claim.window_s)


def _is_signed(receipt: Receipt) -> bool:
    payload = receipt.payload
    return verify(payload.validator_hotkey, signed_text(payload), from_hex(receipt.validator_signature))
