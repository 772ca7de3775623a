"""What batches have measured, as scoring takes it.

Counts are those of the executors that were tested, never scaled by what a miner claims to have besides. A
batch that tested another share of the horde than the cycle before cannot be compared, and gives none.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from horde_agents.agents.validator.synthetic.judge import OWN_JOB
from horde_agents.agents.validator.synthetic.kinds import Finding
from horde_agents.agents.validator.synthetic.plan import Counts
from horde_agents.scoring.facts import BatchCount, Outcome
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


def seen_at_instant(
    offered: Counts,
    own_jobs: Mapping[tuple[str, str], int],
    found: Iterable[tuple[tuple[str, str], Finding]],
    good: Collection[Outcome],
) -> dict[str, dict[str, int]]:
    """Executors that each miner was seen to have at the instant: a claim adds nothing to them.

    Seen are those with a ``good`` outcome, and those that ran a job of this validator's own. Where some
    could not be tested for other reasons the miner's class was not measured, and is left out.
    """
    seen = Counter({place: count for place, count in own_jobs.items() if place[0] in offered})
    not_measured: set[tuple[str, str]] = set()
    for place, finding in found:
        is_own = finding.outcome is Outcome.NOT_RUN and finding.why == OWN_JOB
        if is_own or finding.outcome in good:
            seen[place] += 1
        elif finding.outcome is Outcome.NOT_RUN:
            not_measured.add(place)
    return {
        miner: {name: seen[miner, name] for name in classes if (miner, name) not in not_measured}
        for miner, classes in offered.items()
    }
