"""Declines for stake-fair sharing: when one is right, what it says, and how anybody checks it. Pure.

A miner whose slots are all wanted gives the next one to whoever has had least of the class for its share.
What it tells the one that it declines can be checked: usage against published receipts, shares against the
metagraph, and the other's wish by the started receipt that the other signed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted, ReceiptType, ReceiptWrong, read_payload
from horde_agents.scoring.configuration import Exact
from horde_agents.scoring.shares import fair_shares

#: The value of ``reason`` in the context of such a decline.
SHARE: Final = "share"
#: Validators that can stand in one claim; a subnet has 64 permits at most.
MOST_VALIDATORS: Final = 256
_MOST_USED_S: Final = 10**12
#: Two readers of one chain may differ by so much in a share, and two clocks in a usage.
_SHARE_TOLERANCE: Final = Fraction(1, 10)
_USAGE_TOLERANCE: Final = Fraction(1, 10)
_USAGE_LEEWAY_S: Final = 60
#: Seconds by which a claim may be off our clock, and by which a wish may be older than it.
_CLOCK_S: Final = 60
_WISH_AGE_S: Final = 300


class AskedBy(BaseModel):
    """A started receipt by which a validator asked for a slot; the miner has not signed it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    payload: dict[str, Any]
    validator_signature: str = Field(max_length=132)


class ShareClaim(BaseModel):
    """What a miner says when it declines for share; ``asked`` are the wishes of those that come before."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: str = SHARE
    executor_class: str
    at: AwareDatetime
    window_s: int = Field(ge=60, le=14 * 86_400)
    usage_s: dict[str, Annotated[int, Field(ge=0, le=_MOST_USED_S)]] = Field(max_length=MOST_VALIDATORS)
    shares: dict[str, Exact] = Field(max_length=MOST_VALIDATORS)
    asked: dict[str, AskedBy] = Field(min_length=1, max_length=MOST_VALIDATORS)


@dataclass(frozen=True, slots=True)
class Standing:
    """What each validator has had of a class in the window, and its share among those that want it."""

    usage_s: Mapping[str, int]
    shares: Mapping[str, Fraction]

    def is_behind(self, one: str, other: str) -> bool:
        """Whether ``one`` has had less for its share than ``other``, so that a slot is its before."""
        mine, yours = self.shares.get(one, Fraction(0)), self.shares.get(other, Fraction(0))
        if mine <= 0:
            return False
        return self.usage_s.get(one, 0) * yours < self.usage_s.get(other, 0) * mine


def standing(
    usage_s: Mapping[str, int],
    wanted_by: frozenset[str],
    stakes_rao: Mapping[str, int],
    pool: tuple[Fraction, Fraction],
) -> Standing:
    """The standing of all that want the class or had some of it; ``pool`` as of ``fair_shares``."""
    return Standing(usage_s, shares_among(wanted_by | usage_s.keys(), stakes_rao, pool))


def shares_among(
    hotkeys: Iterable[str], stakes_rao: Mapping[str, int], pool: tuple[Fraction, Fraction]
) -> dict[str, Fraction]:
    """The fair shares among these alone; equal ones where none of them has any stake."""
    stakes = {hotkey: stakes_rao.get(hotkey, 0) for hotkey in sorted(hotkeys)}
    if not any(stakes.values()):
        stakes = dict.fromkeys(stakes, 1)
    return fair_shares(stakes, *pool)


@dataclass(frozen=True, slots=True)
class Known:
    """What the declined validator knows by itself; ``used_wishes`` have excused a decline before."""

    own_hotkey: str
    miner_hotkey: str
    executor_class: str
    own_usage_s: int
    published_usage_s: Mapping[str, int]
    stakes_rao: Mapping[str, int]
    pool: tuple[Fraction, Fraction]
    used_wishes: frozenset[str]
    now: datetime


def read_claim(context: Mapping[str, Any]) -> ShareClaim | None:
    """The claim in a decline's context; ``None`` when there is none that can be read."""
    try:
        return ShareClaim.model_validate(dict(context))
    except ValidationError:
        return None


def why_unfair(claim: ShareClaim, known: Known, is_signed: Callable[[Receipt], bool]) -> str | None:
    """Why a decline for share does not hold; ``None`` when it does."""
    if claim.executor_class != known.executor_class:
        return "the claim is about another class"
    if abs((claim.at - known.now).total_seconds()) > _CLOCK_S:
        return f"the claim is of {claim.at.isoformat()}, not of now"
    why = _why_wrong_shares(claim, known) or _why_wrong_usage(claim, known)
    if why is not None:
        return why
    stand = Standing(claim.usage_s, {name: Fraction(text) for name, text in claim.shares.items()})
    reasons = []
    for hotkey, asked in claim.asked.items():
        why = _why_no_wish(hotkey, asked, claim, known, is_signed)
        if why is None and not stand.is_behind(hotkey, known.own_hotkey):
            why = f"{hotkey} has had no less for its share than we"
        if why is None:
            return None
        reasons.append(why)
    return "; ".join(reasons[:3])


def wishes(claim: ShareClaim) -> frozenset[str]:
    """The uuids of the jobs for which others asked; each excuses one decline."""
    return frozenset(str(asked.payload.get("job_uuid", ""))[:36] for asked in claim.asked.values())


def _why_wrong_shares(claim: ShareClaim, known: Known) -> str | None:
    if known.own_hotkey not in claim.shares:
        return "the claim leaves our own share out"
    for hotkey, right in shares_among(claim.shares, known.stakes_rao, known.pool).items():
        if abs(Fraction(claim.shares[hotkey]) - right) > right * _SHARE_TOLERANCE:
            return f"{hotkey}'s share is {claim.shares[hotkey]} in the claim and {right} by the metagraph"
    return None


def _why_wrong_usage(claim: ShareClaim, known: Known) -> str | None:
    ours_s = claim.usage_s.get(known.own_hotkey, 0)
    if ours_s > known.own_usage_s * (1 + _USAGE_TOLERANCE) + _USAGE_LEEWAY_S:
        return f"the claim says that we had {ours_s} s; we had {known.own_usage_s} s"
    for hotkey, proven_s in known.published_usage_s.items():
        said_s = claim.usage_s.get(hotkey, 0)
        if hotkey in claim.asked and said_s < proven_s * (1 - _USAGE_TOLERANCE) - _USAGE_LEEWAY_S:
            return f"the claim says that {hotkey} had {said_s} s; its receipts prove {proven_s} s"
    return None


def _why_no_wish(
    hotkey: str, asked: AskedBy, claim: ShareClaim, known: Known, is_signed: Callable[[Receipt], bool]
) -> str | None:
    try:
        payload = read_payload(asked.payload, ReceiptType.STARTED)
    except ReceiptWrong as error:
        return f"the wish of {hotkey} cannot be read: {error}"
    assert isinstance(payload, JobStarted)
    about_us = (hotkey, known.miner_hotkey, known.executor_class)
    if (payload.validator_hotkey, payload.miner_hotkey, payload.executor_class) != about_us:
        return f"the wish of {hotkey} is another's, or about something else"
    if not timedelta(seconds=-_CLOCK_S) <= claim.at - payload.timestamp <= timedelta(seconds=_WISH_AGE_S):
        return f"the wish of {hotkey} is too old"
    if payload.job_uuid in known.used_wishes:
        return f"the wish of {hotkey} has excused a decline already"
    if hotkey == known.own_hotkey or not is_signed(Receipt(payload, asked.validator_signature)):
        return f"the wish of {hotkey} is not signed by it"
    return None
