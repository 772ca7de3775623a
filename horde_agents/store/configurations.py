"""Dynamic configurations as they were signed; nothing is ever put in the place of one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import configurations


@dataclass(frozen=True, slots=True)
class StoredConfiguration:
    """The canonical text that was signed, by whom, and since when it has been in force."""

    version: int
    signed_text: str
    signatory: str
    signature: str
    applied_at: datetime


async def add(connection: AsyncConnection, stored: StoredConfiguration) -> None:
    """Keep a version that was not there before."""
    await connection.execute(
        insert(configurations).values(
            version=stored.version,
            signed_text=stored.signed_text,
            signatory=stored.signatory,
            signature=stored.signature,
            applied_at=stored.applied_at,
        )
    )


async def newest(connection: AsyncConnection, most: int = 100) -> list[StoredConfiguration]:
    """The highest versions, highest first."""
    query = select(configurations).order_by(configurations.c.version.desc()).limit(most)
    return [
        StoredConfiguration(row.version, row.signed_text, row.signatory, row.signature, row.applied_at)
        for row in await connection.execute(query)
    ]
