"""What miners last said they offer."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import manifests


async def replace(
    connection: AsyncConnection, miner_hotkey: str, counts: Mapping[str, int], at: datetime
) -> None:
    """Write a miner's manifest over its last one; negative counts become none."""
    await connection.execute(delete(manifests).where(manifests.c.miner_hotkey == miner_hotkey))
    rows = [
        {"miner_hotkey": miner_hotkey, "executor_class": name, "executors": max(count, 0), "seen_at": at}
        for name, count in counts.items()
    ]
    if rows:
        await connection.execute(insert(manifests), rows)


async def newest(connection: AsyncConnection, not_before: datetime) -> dict[str, dict[str, int]]:
    """Executors by class, by miner, as seen since ``not_before``."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(select(manifests).where(manifests.c.seen_at >= not_before)):
        found[row.miner_hotkey][row.executor_class] = row.executors
    return dict(found)
