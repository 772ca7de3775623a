"""What batches have measured, as scoring takes it.

Counts are those of the executors that were tested, never scaled by what a miner claims to have besides. A
batch that tested another share of the horde than the cycle before cannot be compared, and gives none.
"""

from dataclasses import dataclass

from horde_agents.scoring.facts import BatchCount
from horde_agents.store import batches
from horde_agents.store.engine import Store


@dataclass(frozen=True, slots=True)
class MeasuredCounts:
    """The counts of every whole batch of a cycle, from the store."""

    store: Store

    async def counts(self, cycle: int) -> tuple[BatchCount, ...]:
        """Executors by batch, miner and class; nothing if no batch fired in the cycle."""
        async with self.store.reading() as connection:
            before = await batches.measured(connection, cycle - 1)
            found = await batches.measured(connection, cycle)
        shares = {batch.details.get("share") for batch in before}
        return tuple(
            BatchCount(batch.uuid, batch.fire_block, miner, name, executors)
            for batch in found
            if not shares or batch.details.get("share") in shares
            for miner, classes in batch.details["measured"].items()
            for name, executors in classes.items()
        )
