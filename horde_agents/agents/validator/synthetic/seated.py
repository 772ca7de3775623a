"""One executor's place in a batch: who is asked what, and what came of it."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from horde_agents.agents.validator.attempt import Attempt
from horde_agents.agents.validator.miner_session import MinerSession
from horde_agents.agents.validator.routing import Miner
from horde_agents.agents.validator.synthetic.kinds import Finding, SyntheticKind, Task
from horde_agents.jobs.events import JobEvent
from horde_agents.store.batches import BatchJob

US_PER_S: Final = 1_000_000


@dataclass(slots=True)
class Seated:
    """One executor's job of the batch; ``answer`` is what its kind alone found."""

    miner: Miner
    executor_class: str
    kind: SyntheticKind
    task: Task
    attempt: Attempt
    session: MinerSession
    answer: Finding | None = None
    finding: Finding | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Its miner and class."""
        return self.miner.hotkey, self.executor_class

    @property
    def judged(self) -> Finding:
        """The judgement, which every job has in the end."""
        assert self.finding is not None
        return self.finding

    @property
    def last_event(self) -> JobEvent:
        """How the attempt ended."""
        return self.attempt.record.history[-1]

    @property
    def took_us(self) -> int:
        """From the batch's instant to the last report; 0 where there was no instant."""
        gate = self.attempt.live.gate
        if gate is None or gate.fired_at_s is None or not self.attempt.is_over:
            return 0
        return max(round((self.attempt.over_at_s - gate.fired_at_s) * US_PER_S), 0)

    def row(self, batch_uuid: str) -> BatchJob:
        """The job as it is stored before it is offered."""
        return BatchJob(
            self.attempt.key.uuid,
            batch_uuid,
            self.kind.name,
            self.miner.hotkey,
            self.executor_class,
            _plain(self.task),
        )


def _plain(task: Task) -> dict[str, Any]:
    return {name: dict(value) for name, value in asdict(task).items()}
