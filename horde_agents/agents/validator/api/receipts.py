"""``/api/v1/receipts``: receipts by job, miner or cycle; ``/receipts/…`` pages are mounted beside it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from aiohttp import web
from pydantic import BaseModel, Field
from sqlalchemy import Row

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openness import last_open_cycle
from horde_agents.agents.validator.api.parameters import hotkey, limit, whole, word
from horde_agents.agents.validator.api.readings import ReceiptsWanted, page_of_receipts
from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.agents.validator.api.sources import Ask, Sources

PageHandler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receipt(BaseModel):
    """A receipt; the signatures are over ``payload`` as wire note C.8 says."""

    number: int
    job_uuid: str = Field(description="The attempt's uuid, as on the wire.")
    receipt_type: str
    validator_hotkey: str
    miner_hotkey: str
    payload: dict[str, Any]
    validator_signature: str
    miner_signature: str | None
    page: int | None
    stored_at: datetime


class Receipts(BaseModel):
    """A page of receipts, the newest first."""

    items: list[Receipt]
    next_cursor: int | None = Field(description="Cursor of the next page; null: no more.")


def receipt_page_routes(pages: Mapping[str, PageHandler]) -> list[web.RouteDef]:
    """Routes of pages that stock readers fetch without signing, by path, e.g. ``/receipts/{page}.jsonl``.

    Their handlers answer by themselves; the listener only bounds how often one address asks.
    """
    return [web.get(path, handler) for path, handler in pages.items()]


async def _read(sources: Sources, ask: Ask) -> Receipts:
    values = ask.values
    wanted = ReceiptsWanted(values["job"], values["miner"], values["type"], values["cycle"])
    async with sources.store.reading() as connection:
        last_cycle = await last_open_cycle(connection, ask)
        if None not in (wanted.cycle, last_cycle) and wanted.cycle > last_cycle:  # type: ignore[operator]
            raise ApiRefused("thing.not_found", f"Cycle {wanted.cycle} is not open to others yet.")
        rows = await page_of_receipts(connection, values["cursor"], values["limit"] + 1, wanted)
    items = [_receipt(row) for row in rows[: values["limit"]]]
    more = len(rows) > len(items)
    return Receipts(items=items, next_cursor=items[-1].number if more else None)


def _receipt(row: Row[Any]) -> Receipt:
    shown = {**row._mapping, "number": row.id, "payload": json.loads(row.payload_json)}
    return Receipt.model_validate(shown)


ENDPOINTS = (
    Endpoint(
        "/api/v1/receipts",
        "Receipts, the newest first; none of a batch that has not fired.",
        Receipts,
        _read,
        in_query=(
            whole("cursor", "`next_cursor` of the page before."),
            word("job", "Those of one attempt, by its uuid."),
            hotkey("miner", "Those of one miner."),
            word("type", "Those of one type, e.g. `JobFinishedReceipt`."),
            whole("cycle", "Those of this validator's own jobs in one cycle."),
            limit(),
        ),
    ),
)
