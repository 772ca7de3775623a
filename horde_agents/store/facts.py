"""Single values an agent keeps for itself."""

from collections.abc import Callable

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import facts


async def get(connection: AsyncConnection, name: str) -> str | None:
    """The value, or ``None``."""
    return (await connection.execute(select(facts.c.value).where(facts.c.name == name))).scalar_one_or_none()


async def put(connection: AsyncConnection, name: str, value: str) -> None:
    """Write the value."""
    await connection.execute(delete(facts).where(facts.c.name == name))
    await connection.execute(insert(facts).values(name=name, value=value))


async def get_or_make(connection: AsyncConnection, name: str, make: Callable[[], str]) -> str:
    """The value; made and stored the first time it is asked for."""
    value = await get(connection, name)
    if value is None:
        value = make()
        await put(connection, name, value)
    return value


async def named(connection: AsyncConnection, prefix: str) -> dict[str, str]:
    """The values whose names begin with ``prefix``, by name."""
    query = select(facts).where(facts.c.name.startswith(prefix, autoescape=True))
    return {row.name: row.value for row in await connection.execute(query)}


async def remove(connection: AsyncConnection, name: str) -> None:
    """Forget a value."""
    await connection.execute(delete(facts).where(facts.c.name == name))
