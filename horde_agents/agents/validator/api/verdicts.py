"""``/api/v1/verdicts``: what this validator's own jobs came to, as a log whose rows are chained by hashes."""

from datetime import datetime

from pydantic import BaseModel, Field

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openness import last_open_cycle
from horde_agents.agents.validator.api.parameters import limit, whole
from horde_agents.agents.validator.api.readings import page_of_verdicts
from horde_agents.agents.validator.api.sources import Ask, Reader, Sources


class Verdict(BaseModel):
    """One attempt of the validator's own."""

    number: int = Field(description="Place in the log; the cursor that takes up after this row.")
    attempt_uuid: str
    job_uuid: str
    cycle: int
    is_organic: bool
    batch_uuid: str
    miner_hotkey: str
    executor_class: str
    user_hotkey: str | None = Field(description="The user; null for readers that did not sign.")
    outcome: str
    why: str
    run_us: int = Field(description="Microseconds that the job ran.")
    limit_us: int = Field(description="Microseconds that it might have run.")
    ended_at: datetime
    previous_sha256: str = Field(description="Hash of the row before in the log; empty for the first.")
    chain_sha256: str = Field(
        description="SHA-256 of `previous_sha256` and the row's canonical JSON: `horde validator show "
        "verdicts --verify` compares."
    )


class Verdicts(BaseModel):
    """A page of the log, the oldest first."""

    items: list[Verdict]
    next_cursor: int | None = Field(description="Cursor of the next page; null: no more for now.")


async def _read(sources: Sources, ask: Ask) -> Verdicts:
    after, most = ask.values["cursor"], ask.values["limit"]
    async with sources.store.reading() as connection:
        last_cycle = await last_open_cycle(connection, ask)
        rows = await page_of_verdicts(connection, after, most + 1, ask.values["cycle"], last_cycle)
    items = [Verdict.model_validate(_shown(dict(row._mapping), ask)) for row in rows[:most]]
    more = len(rows) > most
    return Verdicts(items=items, next_cursor=items[-1].number if more else None)


def _shown(row: dict[str, object], ask: Ask) -> dict[str, object]:
    user = None if ask.reader is Reader.ANYONE else row["user_hotkey"]
    return row | {"number": row["id"], "user_hotkey": user}


ENDPOINTS = (
    Endpoint(
        "/api/v1/verdicts",
        "What the validator's own jobs came to, the oldest first, as a log chained by hashes.",
        Verdicts,
        _read,
        in_query=(
            whole("cursor", "Number of the last verdict already read.", default=0),
            whole("cycle", "Those of this cycle alone."),
            limit(),
        ),
    ),
)
