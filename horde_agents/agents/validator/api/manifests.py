"""``/api/v1/manifests``: what each miner last said it offers."""

from datetime import datetime, timedelta

from pydantic import BaseModel, Field

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.parameters import limit, word
from horde_agents.agents.validator.api.readings import manifests_of, page_of_miners
from horde_agents.agents.validator.api.sources import Ask, Sources
from horde_agents.runtime import clock


class Manifest(BaseModel):
    """Executors by class."""

    miner_hotkey: str
    executors: dict[str, int]
    seen_at: datetime
    is_stale: bool = Field(description="Too old to count.")


class Manifests(BaseModel):
    """A page of manifests, by hotkey."""

    items: list[Manifest]
    next_cursor: str | None = Field(description="Cursor of the next page; null: no more.")


async def _read(sources: Sources, ask: Ask) -> Manifests:
    most = ask.values["limit"]
    async with sources.store.reading() as connection:
        miners = await page_of_miners(connection, ask.values["cursor"] or "", most + 1)
        rows = await manifests_of(connection, miners[:most])
    not_before = clock.now() - timedelta(seconds=sources.manifest_stale_s)
    found: dict[str, Manifest] = {}
    for row in rows:
        fresh = Manifest(
            miner_hotkey=row.miner_hotkey,
            executors={},
            seen_at=row.seen_at,
            is_stale=row.seen_at < not_before,
        )
        found.setdefault(row.miner_hotkey, fresh).executors[row.executor_class] = row.executors
    more = miners[most - 1] if len(miners) > most else None
    return Manifests(items=list(found.values()), next_cursor=more)


ENDPOINTS = (
    Endpoint(
        "/api/v1/manifests",
        "Executors that each miner last offered, by class.",
        Manifests,
        _read,
        in_query=(word("cursor", "`next_cursor` of the page before."), limit()),
    ),
)
