"""The validator's own verdicts: one row an attempt that has ended, append-only, each chained to the last."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, case, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.runtime.clock import iso
from horde_agents.scoring.facts import Outcome, Tally
from horde_agents.store.tables import verdicts

#: What the first row is chained to.
FIRST_LINK: Final = "0" * 64
#: Rows read at one time where all are wanted.
_PAGE: Final = 1000
_MOST_WHY: Final = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one attempt came to; ``run_us`` is measured or proven, ``limit_us`` the sum of its limits."""

    attempt_uuid: str
    job_uuid: str
    cycle: int
    is_organic: bool
    miner_hotkey: str
    executor_class: str
    outcome: Outcome
    ended_at: datetime
    user_hotkey: str = ""
    batch_uuid: str = ""
    why: str = ""
    run_us: int = 0
    limit_us: int = 0


@dataclass(frozen=True, slots=True)
class Linked:
    """A stored verdict with its place in the log."""

    id: int
    verdict: Verdict
    chain_sha256: str


_KNOWN = select(verdicts.c.id).where(verdicts.c.attempt_uuid == bindparam("wanted"))
_LAST = select(verdicts.c.chain_sha256).order_by(verdicts.c.id.desc()).limit(1)
_ADD = insert(verdicts)
_PAID_US = case((verdicts.c.run_us < verdicts.c.limit_us, verdicts.c.run_us), else_=verdicts.c.limit_us)
_SCORES = (
    verdicts.c.miner_hotkey,
    verdicts.c.executor_class,
    verdicts.c.is_organic,
    verdicts.c.user_hotkey,
    verdicts.c.outcome,
)
_TALLIES = (
    select(*_SCORES, func.count().label("jobs"), func.sum(_PAID_US).label("paid_us"))
    .where(verdicts.c.cycle == bindparam("of"))
    .group_by(*_SCORES)
    .order_by(*_SCORES)
)
_AFTER = (
    select(verdicts)
    .where(verdicts.c.id > bindparam("after"))
    .order_by(verdicts.c.id)
    .limit(bindparam("most"))
)


async def append(connection: AsyncConnection, verdict: Verdict) -> bool:
    """Add a verdict to the log; False when its attempt has one, which stays."""
    if (await connection.execute(_KNOWN, {"wanted": verdict.attempt_uuid})).first() is not None:
        return False
    last = (await connection.execute(_LAST)).scalar_one_or_none() or FIRST_LINK
    values = _columns(verdict)
    values["chain_sha256"] = link(last, verdict)
    await connection.execute(_ADD, values)
    return True


def link(last: str, verdict: Verdict) -> str:
    """The hash of a row and of all before it."""
    plain = _columns(verdict) | {"ended_at": iso(verdict.ended_at)}
    return hashlib.sha256(last.encode() + json.dumps(plain, sort_keys=True).encode()).hexdigest()


async def tallies(connection: AsyncConnection, cycle: int) -> list[Tally]:
    """What a cycle's verdicts come to, gathered by all that scores."""
    return [
        Tally(
            miner_hotkey=row.miner_hotkey,
            executor_class=row.executor_class,
            is_organic=row.is_organic,
            user_hotkey=row.user_hotkey,
            outcome=Outcome(row.outcome),
            jobs=row.jobs,
            paid_us=int(row.paid_us),
        )
        for row in await connection.execute(_TALLIES, {"of": cycle})
    ]


async def page(connection: AsyncConnection, after: int, most: int) -> list[Linked]:
    """Up to ``most`` verdicts that follow the one with id ``after``, in the order of the log."""
    rows = await connection.execute(_AFTER, {"after": after, "most": most})
    return [Linked(row.id, _verdict(row), row.chain_sha256) for row in rows]


async def every(connection: AsyncConnection) -> AsyncIterator[Linked]:
    """The whole log, a page at a time."""
    after = 0
    while found := await page(connection, after, _PAGE):
        for linked in found:
            yield linked
        after = found[-1].id


async def first_broken_link(connection: AsyncConnection) -> int | None:
    """The id of the first row that does not fit those before it; ``None`` when all do."""
    last = FIRST_LINK
    async for linked in every(connection):
        if link(last, linked.verdict) != linked.chain_sha256:
            return linked.id
        last = linked.chain_sha256
    return None


def _columns(verdict: Verdict) -> dict[str, Any]:
    values = asdict(verdict)
    return values | {"outcome": verdict.outcome.value, "why": verdict.why[:_MOST_WHY].replace("\0", "\ufffd")}


def _verdict(row: Row[Any]) -> Verdict:
    values = {name: getattr(row, name) for name in Verdict.__slots__}
    return Verdict(**values | {"outcome": Outcome(row.outcome)})
