"""Messages kept until their peer has acknowledged them, in order."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import outbox

#: Built once, because every status update asks them.
_KEEP = insert(outbox).returning(outbox.c.id)
_DROP = delete(outbox).where(outbox.c.id == bindparam("wanted"))
_DROP_THROUGH = delete(outbox).where((outbox.c.peer == bindparam("of")) & (outbox.c.id <= bindparam("last")))


@dataclass(frozen=True, slots=True)
class Kept:
    """A message waiting for its acknowledgement; ``id`` gives the order."""

    id: int
    subject_uuid: str
    message_json: str


async def keep(
    connection: AsyncConnection, peer: str, subject_uuid: str, message_json: str, at: datetime
) -> Kept:
    """Store a message before it is sent."""
    values = {"peer": peer, "subject_uuid": subject_uuid, "message_json": message_json, "created_at": at}
    result = await connection.execute(_KEEP, values)
    return Kept(result.scalar_one(), subject_uuid, message_json)


async def waiting(connection: AsyncConnection, peer: str) -> list[Kept]:
    """Everything this peer has not acknowledged, oldest first."""
    query = select(outbox).where(outbox.c.peer == peer).order_by(outbox.c.id)
    return [Kept(row.id, row.subject_uuid, row.message_json) for row in await connection.execute(query)]


async def drop_through(connection: AsyncConnection, peer: str, message_id: int) -> None:
    """Forget a peer's messages up to this one, all of which it has acknowledged."""
    await connection.execute(_DROP_THROUGH, {"of": peer, "last": message_id})


async def drop(connection: AsyncConnection, message_id: int) -> None:
    """Forget an acknowledged message."""
    await connection.execute(_DROP, {"wanted": message_id})
