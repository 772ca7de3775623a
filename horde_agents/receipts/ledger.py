"""What receipts prove at an instant: how busy a miner is, and why it may decline. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from horde_agents.receipts.payloads import JobAccepted, JobFinished, JobProgress, JobStarted, Payload

#: Seconds by which an excuse may have run out when it is shown (wire note C.9.3).
EXCUSE_LEEWAY_S: Final = 2


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payload with the signatures that cover its text."""

    payload: Payload
    validator_signature: str
    miner_signature: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressReceipt:
    """A signed statement that a long job still runs; ``miner_signature`` comes once the miner has it."""

    payload: JobProgress
    validator_signature: str
    miner_signature: str | None = None


def proven_us(claimed_us: int, wall_us: int, limit_us: int, before_us: int) -> int:
    """What is proven of a running job: no more than claimed, than passed here, or than was granted.

    ``wall_us`` is by the validator's own clock since the executor was ready; what was signed once stays.
    """
    return max(min(claimed_us, wall_us, limit_us), before_us)


def busy_count(payloads: Iterable[Payload], executor_class: str, now: datetime) -> int:
    """Executors of the class that one miner's receipts show occupied at ``now`` (wire note G.5.2)."""
    started: dict[str, JobStarted] = {}
    accepted: dict[str, JobAccepted] = {}
    finished: set[str] = set()
    for payload in payloads:
        match payload:
            case JobStarted():
                started[payload.job_uuid] = payload
            case JobAccepted():
                accepted[payload.job_uuid] = payload
            case JobFinished():
                finished.add(payload.job_uuid)
    open_jobs = {uuid for uuid, start in started.items() if start.executor_class == executor_class} - finished
    return sum(_runs(started[uuid], now) or _runs(accepted.get(uuid), now) for uuid in open_jobs)


def _runs(payload: JobStarted | JobAccepted | None, now: datetime) -> bool:
    if payload is None:
        return False
    return payload.timestamp <= now <= payload.timestamp + timedelta(seconds=payload.ttl)


def is_excuse(receipt: Receipt, offer: JobStarted, leeway_s: int = 0) -> bool:
    """Whether a started receipt shows why ``offer`` cannot be taken now (wire note C.9.2)."""
    shown = receipt.payload
    return (
        isinstance(shown, JobStarted)
        and shown.is_organic
        and shown.job_uuid != offer.job_uuid
        and shown.executor_class == offer.executor_class
        and shown.miner_hotkey == offer.miner_hotkey
        and shown.timestamp <= offer.timestamp <= shown.timestamp + timedelta(seconds=shown.ttl + leeway_s)
    )


def valid_excuses(
    shown: Iterable[Receipt],
    offer: JobStarted,
    stake_rao: Mapping[str, int],
    minimum_stake_rao: int,
    is_signed: Callable[[Receipt], bool],
) -> list[Receipt]:
    """The shown receipts that a validator believes (wire note C.9.3); each job counts once."""
    seen: set[str] = set()
    believed = []
    for receipt in shown:
        payload = receipt.payload
        trusted = (
            payload.validator_hotkey == offer.validator_hotkey
            or stake_rao.get(payload.validator_hotkey, 0) >= minimum_stake_rao
        )
        fits = trusted and payload.timestamp < offer.timestamp and is_excuse(receipt, offer, EXCUSE_LEEWAY_S)
        if fits and payload.job_uuid not in seen and is_signed(receipt):
            seen.add(payload.job_uuid)
            believed.append(receipt)
    return believed
