"""Values that may be used once."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import nonces


async def use(connection: AsyncConnection, nonce: str, expires_at: datetime, now: datetime) -> bool:
    """True the first time; a nonce is remembered until ``expires_at``."""
    await connection.execute(delete(nonces).where(nonces.c.expires_at < now))
    known = (await connection.execute(select(nonces.c.nonce).where(nonces.c.nonce == nonce))).first()
    if known is None:
        await connection.execute(insert(nonces).values(nonce=nonce, expires_at=expires_at))
    return known is None
