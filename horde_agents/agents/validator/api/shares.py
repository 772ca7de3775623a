"""``/api/v1/shares``: what each validator may use by its stake, and what this one has used."""

from fractions import Fraction

from pydantic import BaseModel, Field

from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.parameters import whole
from horde_agents.agents.validator.api.readings import own_usage
from horde_agents.agents.validator.api.sources import Ask, Sources


class Share(BaseModel):
    """One validator's part of every class's slot time."""

    validator_hotkey: str
    stake_rao: int
    share: str | None = Field(description="An exact number such as `13/100`; null where shares are off.")


class Usage(BaseModel):
    """What this validator used of one class in the cycle."""

    executor_class: str
    is_organic: bool
    jobs: int
    run_us: int = Field(description="Microseconds of slots' time.")


class Shares(BaseModel):
    """Shares by stake, the largest first, and this validator's own usage."""

    validator_hotkey: str
    cycle: int | None = Field(description="The cycle of the usage; null before the first.")
    shares: list[Share]
    usage: list[Usage]


async def _read(sources: Sources, ask: Ask) -> Shares:
    stakes_rao = dict(sources.directory.stake_rao)
    fair: dict[str, Fraction] = {}
    if sources.fair_shares is not None and stakes_rao:
        fair = dict(sources.fair_shares(stakes_rao, sources.configuration()))
    shares = [
        Share(validator_hotkey=hotkey, stake_rao=stake, share=str(fair[hotkey]) if hotkey in fair else None)
        for hotkey, stake in sorted(stakes_rao.items(), key=lambda item: (-item[1], item[0]))
    ]
    async with sources.store.reading() as connection:
        cycle, rows = await own_usage(connection, ask.values["cycle"])
    usage = [Usage.model_validate(dict(row._mapping)) for row in rows]
    return Shares(validator_hotkey=sources.hotkey, cycle=cycle, shares=shares, usage=usage)


ENDPOINTS = (
    Endpoint(
        "/api/v1/shares",
        "Every validator's share of capacity by stake, and what this one has used in a cycle.",
        Shares,
        _read,
        in_query=(whole("cycle", "The usage of this cycle; else of the newest."),),
    ),
)
