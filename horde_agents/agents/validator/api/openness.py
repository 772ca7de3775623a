"""Which cycles others may read about: those whose weights the chain shows already.

Verdicts, outcomes and scores of a cycle tell the weights that follow from them. Shown earlier they would
serve a validator that copies weights, which commit-reveal is there to prevent. The operator sees all at once.
"""

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.api.sources import Ask, Reader
from horde_agents.store.tables import batches, cycle_scores, verdicts, weight_settings
from horde_agents.store.weight_settings import WeightState

#: A cycle that many cycles old is shown even if its weights never reached the chain.
SHOWN_AFTER_CYCLES: Final = 4


def is_open_weights(state: str) -> bool:
    """Whether the chain shows weights in this state: hidden ones are confirmed when they are revealed."""
    return state == WeightState.CONFIRMED


async def last_open_cycle(connection: AsyncConnection, ask: Ask) -> int | None:
    """The newest cycle that this reader may see whole, -1 for none yet; ``None``: all."""
    if ask.reader is Reader.OPERATOR:
        return None
    by_age = await _newest_cycle(connection) - SHOWN_AFTER_CYCLES
    rows = weight_settings.c
    is_shown = rows.state == WeightState.CONFIRMED.value
    on_chain = (await connection.execute(select(func.max(rows.cycle)).where(is_shown))).scalar_one()
    return max(by_age, -1 if on_chain is None else on_chain, -1)


async def _newest_cycle(connection: AsyncConnection) -> int:
    newest = -1
    for column in (verdicts.c.cycle, batches.c.cycle, cycle_scores.c.cycle, weight_settings.c.cycle):
        found = (await connection.execute(select(func.max(column)))).scalar_one()
        newest = max(newest, -1 if found is None else found)
    return newest
