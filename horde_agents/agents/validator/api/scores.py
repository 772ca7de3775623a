"""``/api/v1/scores``: what each cycle was scored, and how one miner's part of it came about."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.openness import last_open_cycle
from horde_agents.agents.validator.api.parameters import cycle_or_latest, limit, whole
from horde_agents.agents.validator.api.readings import page_of_scores, score_of
from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.agents.validator.api.sources import Ask, Sources

_MOST_UID = 65_535
_CYCLE = cycle_or_latest("cycle", "A cycle's number, or `latest`.")


class ScoredCycle(BaseModel):
    """A cycle that has been scored."""

    cycle: int
    scored_at: datetime


class ScoredCycles(BaseModel):
    """A page of scored cycles, the last first."""

    items: list[ScoredCycle]
    next_cursor: int | None = Field(description="Cursor of the next page; null: no more.")


class Score(ScoredCycle):
    """A cycle's whole result, as it was stored."""

    result: dict[str, Any] = Field(description="Weights and explanations, as `horde score` prints them.")


class Explanation(ScoredCycle):
    """How one UID's weight came about."""

    uid: int
    explanation: dict[str, Any]


async def _read_page(sources: Sources, ask: Ask) -> ScoredCycles:
    most = ask.values["limit"]
    async with sources.store.reading() as connection:
        last_cycle = await last_open_cycle(connection, ask)
        rows = await page_of_scores(connection, ask.values["cursor"], most + 1, last_cycle)
    items = [ScoredCycle.model_validate(dict(row._mapping)) for row in rows[:most]]
    return ScoredCycles(items=items, next_cursor=items[-1].cycle if len(rows) > most else None)


async def _read_one(sources: Sources, ask: Ask) -> Score:
    async with sources.store.reading() as connection:
        row = await score_of(connection, ask.values["cycle"], await last_open_cycle(connection, ask))
    if row is None:
        which = "No cycle" if ask.values["cycle"] is None else f"Cycle {ask.values['cycle']}"
        raise ApiRefused(
            "thing.not_found",
            f"{which} has no score that may be shown; others see one once the chain shows its weights.",
        )
    return Score(cycle=row.cycle, scored_at=row.scored_at, result=json.loads(row.result_json))


async def _read_uid(sources: Sources, ask: Ask) -> Explanation:
    score = await _read_one(sources, ask)
    uid = ask.values["uid"]
    explanation = explanation_of(score.result, uid)
    if explanation is None:
        raise ApiRefused("thing.not_found", f"UID {uid} is not explained in cycle {score.cycle}.")
    return Explanation(cycle=score.cycle, scored_at=score.scored_at, uid=uid, explanation=explanation)


def explanation_of(result: dict[str, Any], uid: int) -> dict[str, Any] | None:
    """The part of a stored result that is about one UID."""
    miners = result.get("miners", [])
    return next((miner for miner in miners if miner.get("uid") == uid), None)


ENDPOINTS = (
    Endpoint(
        "/api/v1/scores",
        "Cycles that have been scored, the last first.",
        ScoredCycles,
        _read_page,
        in_query=(whole("cursor", "`next_cursor` of the page before."), limit()),
    ),
    Endpoint(
        "/api/v1/scores/{cycle}", "A cycle's weights, and how they came about.", Score, _read_one, (_CYCLE,)
    ),
    Endpoint(
        "/api/v1/scores/{cycle}/{uid}",
        "How one UID's weight came about.",
        Explanation,
        _read_uid,
        (_CYCLE, whole("uid", "The miner's UID.", _MOST_UID)),
    ),
)
