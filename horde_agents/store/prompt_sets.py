"""Prompt sets, each made for one batch and used once."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.store.tables import prompt_sets


class SetState(StrEnum):
    """How far a set has come."""

    MADE = "made"
    USED = "used"  # its answers are known, and its prompts have left this machine


async def add(
    connection: AsyncConnection,
    uuid: str,
    batch_uuid: str,
    prompts: Sequence[Mapping[str, str]],
    at: datetime,
) -> None:
    """Store a fresh set."""
    await connection.execute(
        insert(prompt_sets).values(
            uuid=uuid,
            state=SetState.MADE.value,
            prompts_json=json.dumps(list(prompts)),
            answers_json="{}",
            batch_uuid=batch_uuid,
            made_at=at,
        )
    )


async def use(connection: AsyncConnection, uuid: str, answers: Mapping[str, str]) -> bool:
    """Store the answers and take the set for its batch; False when it was used before."""
    mine = (prompt_sets.c.uuid == uuid) & (prompt_sets.c.state == SetState.MADE.value)
    values = {"state": SetState.USED.value, "answers_json": json.dumps(dict(answers))}
    return (await connection.execute(update(prompt_sets).where(mine).values(**values))).rowcount == 1
