"""What batches have measured, as scoring takes it."""

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
            found = await batches.measured(connection, cycle)
        return tuple(
            BatchCount(batch.uuid, batch.fire_block, miner, name, executors)
            for batch in found
            for miner, classes in batch.details["measured"].items()
            for name, executors in classes.items()
        )
