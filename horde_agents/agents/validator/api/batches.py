"""``/api/v1/batches``: synthetic batches that have fired, and what became of their jobs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, Field

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openness import last_open_cycle
from horde_agents.agents.validator.api.parameters import Parameter, limit, uuid, whole
from horde_agents.agents.validator.api.readings import (
    fired_batch,
    jobs_of_batch,
    outcomes_of_batch,
    page_of_batches,
)
from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.agents.validator.api.sources import Ask, Sources

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"(\d{1,16})\.([0-9a-f-]{36})")


class Batch(BaseModel):
    """A batch, or a single challenge, that has fired."""

    uuid: str
    cycle: int
    purpose: str
    state: str
    fire_block: int
    fired_at: datetime
    ended_at: datetime | None


class Batches(BaseModel):
    """A page of batches, the last fired first."""

    items: list[Batch]
    next_cursor: str | None = Field(description="Cursor of the next page; null: no more.")


class BatchJob(BaseModel):
    """One synthetic job; its end is null while the batch runs and until its cycle is open."""

    attempt_uuid: str
    kind: str
    miner_hotkey: str
    executor_class: str
    outcome: str | None
    why: str | None
    took_us: int | None


class BatchShown(Batch):
    """A batch with a page of its jobs."""

    outcomes: dict[str, int] | None = Field(description="Jobs by outcome; null until they may be shown.")
    jobs: list[BatchJob]
    next_cursor: str | None = Field(description="Cursor of the next page of jobs; null: no more.")


async def _read_page(sources: Sources, ask: Ask) -> Batches:
    most = ask.values["limit"]
    async with sources.store.reading() as connection:
        rows = await page_of_batches(connection, ask.values["cursor"], most + 1, ask.values["cycle"])
    items = [Batch.model_validate(dict(row._mapping)) for row in rows[:most]]
    return Batches(items=items, next_cursor=_cursor_of(items[-1]) if len(rows) > most else None)


async def _read_one(sources: Sources, ask: Ask) -> BatchShown:
    name, most = ask.values["uuid"], ask.values["limit"]
    async with sources.store.reading() as connection:
        batch = await fired_batch(connection, name)
        if batch is None:
            raise ApiRefused("thing.not_found", f"No batch {name} has fired here.")
        last_cycle = await last_open_cycle(connection, ask)
        is_shown = batch.ended_at is not None and (last_cycle is None or batch.cycle <= last_cycle)
        outcomes = await outcomes_of_batch(connection, name) if is_shown else None
        rows = await jobs_of_batch(connection, name, ask.values["cursor"] or "", most + 1)
    jobs = [_job(dict(row._mapping), is_shown=is_shown) for row in rows[:most]]
    more = jobs[-1].attempt_uuid if len(rows) > most else None
    return BatchShown(**dict(batch._mapping), outcomes=outcomes, jobs=jobs, next_cursor=more)


def _job(row: Mapping[str, Any], *, is_shown: bool) -> BatchJob:
    end = {} if is_shown else {"outcome": None, "why": None, "took_us": None}
    return BatchJob.model_validate({**row, **end})


def _cursor_of(batch: Batch) -> str:
    return f"{(batch.fired_at - _EPOCH) // timedelta(microseconds=1)}.{batch.uuid}"


def _read_cursor(text: str) -> tuple[datetime, str]:
    found = _CURSOR.fullmatch(text)
    try:
        if found is not None:
            return _EPOCH + timedelta(microseconds=int(found[1])), found[2]
    except OverflowError:
        pass
    raise ValueError("is no cursor of a page before")


ENDPOINTS = (
    Endpoint(
        "/api/v1/batches",
        "Synthetic batches that have fired, the last first; nothing is told of others.",
        Batches,
        _read_page,
        in_query=(
            Parameter(
                "cursor",
                "`next_cursor` of the page before.",
                _read_cursor,
                {"type": "string", "maxLength": 64},
            ),
            whole("cycle", "Those of this cycle alone."),
            limit(),
        ),
    ),
    Endpoint(
        "/api/v1/batches/{uuid}",
        "One batch with its jobs; never what was expected of them.",
        BatchShown,
        _read_one,
        in_path=(uuid("uuid", "The batch."),),
        in_query=(uuid("cursor", "`next_cursor` of the page before."), limit()),
    ),
)
