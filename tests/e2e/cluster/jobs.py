"""Jobs that run through a story, one after another on several lanes."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from horde_agents.cli.cluster import GPU_CLASS
from horde_agents.cli.embedded import EmbeddedHorde
from horde_agents.clients.facilitator import FacilitatorClient
from tests.e2e.cluster.patience import until
from tests.e2e.users import as_user, ended, request, state_of


@dataclass(slots=True)
class Jobs:
    """The jobs of one story; ``ended`` are those that have a final state, as the user sees them."""

    image: str
    sent: list[str] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def states(self) -> Counter[str]:
        """How many ended in which state."""
        return Counter(state_of(job) for job in self.ended)

    def not_completed(self) -> list[dict[str, Any]]:
        """The last word on each job that did not complete."""
        return [job["status_history"][-1] for job in self.ended if state_of(job) != "completed"]

    def check_all_completed(self) -> None:
        """Fail with the last word on each job that did not."""
        left = self.not_completed()
        assert not left, "\n".join(json.dumps(entry) for entry in left)

    async def more_completed(self, count: int) -> None:
        """Wait until ``count`` more jobs have completed than now."""
        before = self.states()["completed"]

        async def states() -> Counter[str]:
            return self.states()

        wanted = before + count
        await until(f"{wanted} jobs completed", states, lambda seen: seen["completed"] >= wanted)

    async def keep_sending(self, client: FacilitatorClient) -> None:
        """One lane."""
        while not self.enough.is_set():
            sent = await client.submit(gpu_job(self.image, "sh", "-c", "sleep 1; echo done"))
            self.sent.append(sent["uuid"])
            self.ended.append(await ended(client, sent["uuid"]))


def gpu_job(image: str, *args: str, **more: Any) -> dict[str, Any]:
    """A job for one of the cluster's GPUs; its tag makes it another than any before."""
    return request(image, *args, executor_class=GPU_CLASS, tag=uuid.uuid4().hex, **more)


@asynccontextmanager
async def jobs_running(horde: EmbeddedHorde, image: str, lanes: int = 2) -> AsyncIterator[Jobs]:
    """Send jobs while the block lasts, ``lanes`` at once; all of them have ended after it."""
    jobs = Jobs(image)
    async with as_user(horde) as client, asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(jobs.keep_sending(client))
        await jobs.more_completed(1)
        yield jobs
        jobs.enough.set()


def accept_s(job: dict[str, Any]) -> float:
    """Seconds from the validator's taking of a job to a miner's acceptance."""
    at = {entry["status"]: datetime.fromisoformat(entry["created_at"]) for entry in job["status_history"]}
    return (at["accepted"] - at["received"]).total_seconds()
