"""Who may do what: allow and deny lists, and blacklists that run out."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import access

#: Built once, because every job and every connection asks it.
_ENTRIES = (
    select(access)
    .where(
        (access.c.scope == bindparam("of")) & (access.c.until.is_(None) | (access.c.until > bindparam("at")))
    )
    .order_by(access.c.hotkey)
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list; ``until`` is ``None`` for ever."""

    hotkey: str
    allowed: bool
    note: str = ""
    until: datetime | None = None


async def put(connection: AsyncConnection, scope: str, entry: Entry) -> None:
    """Write ``entry`` over what the list says of its hotkey."""
    await remove(connection, scope, entry.hotkey)
    values = {"hotkey": entry.hotkey, "allowed": entry.allowed, "note": entry.note, "until": entry.until}
    await connection.execute(insert(access).values(scope=scope, **values))


async def remove(connection: AsyncConnection, scope: str, hotkey: str) -> None:
    """Take a hotkey off the list."""
    await connection.execute(delete(access).where((access.c.scope == scope) & (access.c.hotkey == hotkey)))


async def entries(connection: AsyncConnection, scope: str, now: datetime) -> dict[str, Entry]:
    """The list as it stands, by hotkey; lines that have run out are left out."""
    rows = await connection.execute(_ENTRIES, {"of": scope, "at": now})
    return {row.hotkey: Entry(row.hotkey, row.allowed, row.note, row.until) for row in rows}
