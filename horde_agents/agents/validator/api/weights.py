"""``/api/v1/weights``: each cycle's weights on their way to the chain; their values once it shows them."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openness import is_open_weights
from horde_agents.agents.validator.api.parameters import limit, whole
from horde_agents.agents.validator.api.readings import page_of_weights
from horde_agents.agents.validator.api.sources import Ask, Reader, Sources
from horde_agents.runtime.redaction import shown


class Weights(BaseModel):
    """One cycle's weights; values are null for others until the chain shows them."""

    cycle: int
    netuid: int
    version_key: int
    mode: str
    state: str
    why: str
    tries: int
    stored_at: datetime
    changed_at: datetime
    values: dict[int, int] | None = Field(description="Weight by UID, 0 to 65535.")


class WeightsPage(BaseModel):
    """A page of weights, the last cycle first."""

    items: list[Weights]
    next_cursor: int | None = Field(description="Cursor of the next page; null: no more.")


async def _read(sources: Sources, ask: Ask) -> WeightsPage:
    most = ask.values["limit"]
    async with sources.store.reading() as connection:
        rows = await page_of_weights(connection, ask.values["cursor"], most + 1)
    items = [_weights(row, ask) for row in rows[:most]]
    return WeightsPage(items=items, next_cursor=items[-1].cycle if len(rows) > most else None)


def _weights(row: Row[Any], ask: Ask) -> Weights:
    is_shown = ask.reader is Reader.OPERATOR or is_open_weights(row.state)
    by_uid = zip(json.loads(row.uids_json), json.loads(row.values_json), strict=False) if is_shown else None
    values = None if by_uid is None else dict(by_uid)
    return Weights.model_validate({**row._mapping, "why": shown("why", row.why), "values": values})


ENDPOINTS = (
    Endpoint(
        "/api/v1/weights",
        "Weights by cycle, how far they are on their way to the chain, and what is wrong; never salts.",
        WeightsPage,
        _read,
        in_query=(whole("cursor", "`next_cursor` of the page before."), limit()),
    ),
)
