"""How far each page of each peer has been read; a cursor moves with what is stored of the page."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import page_cursors


def _move(dialect: Any) -> Any:  # noqa: ANN401  (each dialect has an insert of its own)
    statement = dialect.insert(page_cursors)
    return statement.on_conflict_do_update(
        index_elements=["peer_hotkey", "page"],
        set_={"read_bytes": statement.excluded.read_bytes, "read_at": statement.excluded.read_at},
    )


_MOVE: Final[Mapping[str, Any]] = {"sqlite": _move(sqlite), "postgresql": _move(postgresql)}


async def of_peer(connection: AsyncConnection, peer: str) -> dict[int, int]:
    """Bytes read, by page; ``peer`` is a hotkey, or names one kind of its pages."""
    query = select(page_cursors.c.page, page_cursors.c.read_bytes).where(page_cursors.c.peer_hotkey == peer)
    return {row.page: row.read_bytes for row in await connection.execute(query)}


async def move(connection: AsyncConnection, peer: str, page: int, read_bytes: int, at: datetime) -> None:
    """Note that a page has been read up to ``read_bytes``."""
    values = {"peer_hotkey": peer, "page": page, "read_bytes": read_bytes, "read_at": at}
    await connection.execute(_MOVE[connection.dialect.name], values)


async def evict(connection: AsyncConnection, before_page: int) -> int:
    """Forget the cursors of pages before ``before_page``; how many."""
    gone = await connection.execute(delete(page_cursors).where(page_cursors.c.page < before_page))
    return gone.rowcount
