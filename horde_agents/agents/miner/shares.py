"""Stake-fair sharing at the miner: who has had how much, who waits, and whom a free slot is not for.

Idle executors are lent to whoever asks. A validator is declined for its share only while another that has
had less for its share was turned away a moment ago and may come back: that is when lent capacity is taken
back, at the end of a job. A slot is kept free for it ``share_patience_s`` at most; one that does not come
back is not waited for again for a while, so that nobody can keep slots idle by asking.

Synthetic jobs test all executors at one instant: they are never declined for share, and no slot is kept for
them, as long as a validator spends no more than a twentieth of all slot time on them.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.miner.slots import SlotCount
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, payload_object
from horde_agents.receipts.usage import UsageWindow
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.share_claims import AskedBy, ShareClaim, Standing, standing
from horde_agents.store import attempts
from horde_agents.store.engine import Store

_MOST_WISHES: Final = 256
#: Patiences for which a validator that did not come back for a slot is not waited for.
_UNHEEDED_FOR: Final = 10
#: Of all slot time, what a validator may spend on synthetic jobs beside its share.
_SYNTHETIC_SHARE: Final = Fraction(1, 20)


@dataclass(slots=True)
class _Waiting:
    """A validator that was turned away: its newest wish, and when it made each of those not granted yet.

    ``was_kept`` when a slot has been kept free for it since it asked last.
    """

    asked: Receipt
    asked_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_WISHES))
    was_kept: bool = False
    was_granted: bool = False


@dataclass(slots=True)
class _ClassShares:
    usage: UsageWindow
    synthetic: UsageWindow
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    unheeded_until_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Shares:
    """The book of shares of one miner, by executor class as it was asked for."""

    settings: MinerSettings
    facts: ChainFacts
    _of: dict[str, _ClassShares] = field(default_factory=dict)
    _class_of: dict[str, str] = field(default_factory=dict)
    _pool: tuple[Fraction, Fraction] = field(default_factory=lambda: pool_of(Configuration()))

    async def load(self, store: Store, at: datetime) -> None:
        """Take up the leases of an earlier process."""
        since = at - timedelta(seconds=self.settings.share_window_s)
        async with store.reading() as connection:
            leased = await attempts.leased_since(connection, since)
        for lease in sorted(leased, key=lambda each: each.ended_at or datetime.max.replace(tzinfo=UTC)):
            self.began(lease.attempt_uuid, lease.validator_hotkey, lease.executor_class, lease.taken_at)
            if lease.ended_at is not None:
                self.ended(lease.attempt_uuid, lease.ended_at)

    def began(self, attempt_uuid: str, validator_hotkey: str, executor_class: str, at: datetime) -> None:
        """A validator has got a slot."""
        book = self._book(executor_class)
        book.usage.began(attempt_uuid, validator_hotkey, at.timestamp())
        self._class_of[attempt_uuid] = executor_class
        _grant_one(book, validator_hotkey)

    def is_exempt(self, asked: JobStarted, slots: SlotCount, at: datetime) -> bool:
        """Whether an offer is of a synthetic job, within the bounds of such."""
        if asked.is_organic:
            return False
        used_s = self._book(asked.executor_class).synthetic.usage_s(at.timestamp())
        most_s = _SYNTHETIC_SHARE * slots.all * round(self.settings.share_window_s)
        return used_s.get(asked.validator_hotkey, 0) <= most_s

    def began_synthetic(self, asked: JobStarted, at: datetime) -> None:
        """A validator has got a slot for a synthetic job."""
        synthetic = self._book(asked.executor_class).synthetic
        synthetic.began(asked.job_uuid, asked.validator_hotkey, at.timestamp())

    def ended(self, attempt_uuid: str, at: datetime) -> None:
        """A slot is given back."""
        executor_class = self._class_of.pop(attempt_uuid, None)
        if executor_class is not None:
            book = self._book(executor_class)
            book.usage.ended(attempt_uuid, at.timestamp())
            book.synthetic.ended(attempt_uuid, at.timestamp())

    def turned_away(self, asked: Receipt, executor_class: str, at: datetime) -> None:
        """There was no executor for this offer: the next free one may be for its validator."""
        book, at_s = self._book(executor_class), at.timestamp()
        hotkey = asked.payload.validator_hotkey
        if book.unheeded_until_s.get(hotkey, -math.inf) > at_s:
            return
        waiting = book.waiting.setdefault(hotkey, _Waiting(asked))
        waiting.asked, waiting.was_kept = asked, False
        waiting.asked_at_s.append(at_s)

    def claim_against(
        self, validator_hotkey: str, executor_class: str, slots: SlotCount, at: datetime
    ) -> ShareClaim | None:
        """Why none of the free slots is for this validator now; ``None`` when it may have one."""
        book = self._book(executor_class)
        self._forget_late(book, at.timestamp())
        if slots.free <= 0 or not book.waiting:
            return None
        stand = self._standing(book, validator_hotkey, at)
        before = {
            hotkey: waiting
            for hotkey, waiting in book.waiting.items()
            if hotkey != validator_hotkey and stand.is_behind(hotkey, validator_hotkey)
        }
        kept = sum(_kept(waiting, stand.shares[hotkey], slots) for hotkey, waiting in before.items())
        if kept < slots.free:
            return None
        for waiting in before.values():
            waiting.was_kept = True
        return ShareClaim(
            executor_class=executor_class,
            at=at,
            window_s=round(self.settings.share_window_s),
            usage_s=dict(stand.usage_s),
            shares={hotkey: str(share) for hotkey, share in stand.shares.items()},
            asked={hotkey: _as_asked(waiting.asked) for hotkey, waiting in before.items()},
        )

    def shown(self, at: datetime) -> dict[str, Any]:
        """Usage and shares by class, for everybody to see."""
        classes = {}
        for name, book in self._of.items():
            stand = self._standing(book, None, at)
            shares = {hotkey: str(share) for hotkey, share in stand.shares.items()}
            classes[name] = {"usage_s": dict(stand.usage_s), "shares": shares}
        return {"window_s": round(self.settings.share_window_s), "classes": classes}

    def _standing(self, book: _ClassShares, validator_hotkey: str | None, at: datetime) -> Standing:
        wanted_by = frozenset(book.waiting) | ({validator_hotkey} if validator_hotkey else set())
        usage_s = book.usage.usage_s(at.timestamp())
        return standing(usage_s, wanted_by, self.facts.validator_stakes, self._pool)

    def _book(self, executor_class: str) -> _ClassShares:
        if executor_class not in self._of:
            window_s = self.settings.share_window_s
            self._of[executor_class] = _ClassShares(UsageWindow(window_s), UsageWindow(window_s))
        return self._of[executor_class]

    def _forget_late(self, book: _ClassShares, at_s: float) -> None:
        """Wishes that are too old; one that let a slot wait for nothing is not heeded for a while."""
        patience_s = self.settings.share_patience_s
        for hotkey, waiting in list(book.waiting.items()):
            while waiting.asked_at_s and waiting.asked_at_s[0] + patience_s < at_s:
                waiting.asked_at_s.popleft()
            if not waiting.asked_at_s:
                del book.waiting[hotkey]
                if waiting.was_kept and not waiting.was_granted:
                    book.unheeded_until_s[hotkey] = at_s + _UNHEEDED_FOR * patience_s


def pool_of(configuration: Configuration) -> tuple[Fraction, Fraction]:
    """The small pool's share, and the stake share below which it serves."""
    return Fraction(configuration.small_pool_share), Fraction(configuration.small_pool_stake_share)


def _grant_one(book: _ClassShares, validator_hotkey: str) -> None:
    """A validator got a slot: its oldest wish is granted."""
    waiting = book.waiting.get(validator_hotkey)
    if waiting is not None:
        waiting.asked_at_s.popleft()
        waiting.was_granted = True
        if not waiting.asked_at_s:
            del book.waiting[validator_hotkey]


def _kept(waiting: _Waiting, share: Fraction, slots: SlotCount) -> int:
    """Slots to keep for it: as many as it asked for, and no more than its share of all."""
    return min(len(waiting.asked_at_s), max(math.ceil(share * slots.all), 1))


def _as_asked(receipt: Receipt) -> AskedBy:
    return AskedBy(payload=payload_object(receipt.payload), validator_signature=receipt.validator_signature)
