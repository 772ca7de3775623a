"""Which miners may get a job, in which order, or why none may. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from horde_agents.protocol.signing import Hotkey


@dataclass(frozen=True, slots=True)
class Miner:
    """A miner and where it listens; ``host`` is an address or a name."""

    hotkey: Hotkey
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the validator knows at this moment.

    ``manifests``: executors by class, by miner; a miner that is missing has not answered.
    ``busy``: executors of the wanted class that our own receipts show occupied.
    ``barred``: miners that get no jobs now, with the reason.
    ``tried``: miners that had an attempt of this job.
    """

    manifests: Mapping[str, Mapping[str, int]]
    busy: Mapping[str, int] = field(default_factory=dict)
    barred: Mapping[str, str] = field(default_factory=dict)
    tried: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NoMiner:
    """Nobody is left; ``why`` has a line for each miner."""

    why: dict[str, str]

    @property
    def sentence(self) -> str:
        """The reason in one line."""
        if not self.why:
            return "No miner is known: the metagraph lists none with an axon."
        return f"None of {len(self.why)} known miners can take the job."


def route(
    miners: Sequence[Miner], executor_class: str, facts: Facts, rng: Random
) -> tuple[Miner, ...] | NoMiner:
    """The miners to try, in order: a shuffle weighted by free executors, so that load spreads fairly."""
    why: dict[str, str] = {}
    weighed: list[tuple[float, Miner]] = []
    for miner in miners:
        reason = _why_not(miner, executor_class, facts)
        if reason is None:
            weight = free_executors(miner.hotkey, executor_class, facts)
            weighed.append((rng.random() ** (1 / weight), miner))
        else:
            why[miner.hotkey] = reason
    if not weighed:
        return NoMiner(why)
    return tuple(miner for _, miner in sorted(weighed, key=lambda pair: pair[0], reverse=True))


def free_executors(hotkey: str, executor_class: str, facts: Facts) -> int:
    """Executors of the class that the miner offers and our receipts do not show busy."""
    offered = facts.manifests.get(hotkey, {}).get(executor_class, 0)
    return max(offered - facts.busy.get(hotkey, 0), 0)


def _why_not(miner: Miner, executor_class: str, facts: Facts) -> str | None:
    if miner.hotkey in facts.tried:
        return "has had an attempt of this job"
    if miner.hotkey in facts.barred:
        return f"gets no jobs now: {facts.barred[miner.hotkey]}"
    manifest = facts.manifests.get(miner.hotkey)
    if manifest is None:
        return "has not told what it offers"
    if manifest.get(executor_class, 0) <= 0:
        return f"offers no {executor_class}"
    if free_executors(miner.hotkey, executor_class, facts) == 0:
        return "is busy with jobs of ours"
    return None
