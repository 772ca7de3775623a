"""``/api/v1/status``: who this validator is, where it stands in the cycle, and what is wrong with it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row

from horde_agents import __version__
from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.readings import page_of_batches, page_of_scores, page_of_weights
from horde_agents.agents.validator.api.sources import Ask, BlockSpan, Reader, Sources
from horde_agents.runtime.redaction import shown


class Blocks(BaseModel):
    """Blocks of a cycle, the first and the last included."""

    cycle: int
    first_block: int
    last_block: int


class Link(BaseModel):
    """The link to one facilitator."""

    address: str
    is_up: bool
    why: str | None


class LastBatch(BaseModel):
    """The batch fired last."""

    uuid: str
    purpose: str
    state: str
    fired_at: datetime


class LastWeights(BaseModel):
    """How far the newest weights are."""

    cycle: int
    mode: str
    state: str
    why: str
    changed_at: datetime


class Status(BaseModel):
    """The validator now; null stands for what is not known, or not told to this reader."""

    hotkey: str
    version: str
    block_number: int | None
    cycle: Blocks | None
    seat: Blocks | None = Field(description="Where this cycle's batch fires, as every validator computes it.")
    next_seat: Blocks | None = Field(description="The same of the next cycle; the instant is never told.")
    miners: int = Field(description="Miners known.")
    validators: int = Field(description="Hotkeys with a validator permit.")
    configuration_version: int
    last_batch: LastBatch | None
    why_no_batch: str | None = Field(
        description="Why the newest batch was not made whole; empty when it was. Told to its operator only."
    )
    last_scored_cycle: int | None
    weights: LastWeights | None
    links: list[Link] | None
    wrong: dict[str, str] | None = Field(description="What is not ready, and why; empty when all is well.")


async def _read(sources: Sources, ask: Ask) -> Status:
    async with sources.store.reading() as connection:
        batches = await page_of_batches(connection, None, 1, None)
        scores = await page_of_scores(connection, None, 1, None)
        weights = await page_of_weights(connection, None, 1)
    return Status(
        hotkey=sources.hotkey,
        version=__version__,
        block_number=sources.block_number(),
        cycle=_blocks(sources.cycle()),
        seat=_blocks(sources.seat()),
        next_seat=_blocks(sources.next_seat()),
        miners=len(sources.directory.miners()),
        validators=len(sources.directory.stake_rao),
        configuration_version=sources.configuration().version,
        last_batch=LastBatch.model_validate(dict(batches[0]._mapping)) if batches else None,
        # that tasks are being made, or cannot be, would tell others when the batch comes
        why_no_batch=_why_no_batch(sources) if ask.reader is Reader.OPERATOR else None,
        last_scored_cycle=scores[0].cycle if scores else None,
        weights=_last_weights(weights[0]) if weights else None,
        links=None if ask.reader is Reader.ANYONE else _links(sources),
        wrong=None if ask.reader is Reader.ANYONE else _wrong(sources),
    )


def _blocks(span: BlockSpan | None) -> Blocks | None:
    if span is None:
        return None
    return Blocks(cycle=span.cycle, first_block=span.first_block, last_block=span.last_block)


def _last_weights(row: Row[Any]) -> LastWeights:
    return LastWeights.model_validate({**row._mapping, "why": shown("why", row.why)})


def _why_no_batch(sources: Sources) -> str:
    return str(shown("why", sources.why_no_batch()))


def _links(sources: Sources) -> list[Link]:
    return [
        Link(address=shown("address", address), is_up=why is None, why=shown("why", why))
        for address, why in sources.links().items()
    ]


def _wrong(sources: Sources) -> dict[str, str]:
    found = {name: check() for name, check in sources.checks.items()}
    return {shown("name", name): shown("why", why) for name, why in found.items() if why is not None}


ENDPOINTS = (
    Endpoint("/api/v1/status", "Who the validator is, where it stands, and what is wrong.", Status, _read),
)
