"""Whether a miner gets jobs, and with which outcomes, for its operators: ``/jobs``, and the CLI."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from horde_agents.agents.miner.parts import MinerMetrics
from horde_agents.runtime import clock
from horde_agents.store.engine import Store
from horde_agents.store.outcomes import LastAttempt, OutcomeCount, counts_since, last_since

DAY_S: Final = 86_400
MOST_SINCE_S: Final = 3_650 * DAY_S
MOST_LAST: Final = 500
_LAST: Final = 20


@dataclass(frozen=True, slots=True)
class JobReport:
    """Attempts made since ``since``: how many of each kind, and the last ones."""

    since: datetime
    counts: list[OutcomeCount]
    last: list[LastAttempt]

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "since": clock.iso(self.since),
            "attempts": sum(count.attempts for count in self.counts),
            "counts": [asdict(count) for count in self.counts],
            "last": [
                asdict(attempt)
                | {"created_at": clock.iso(attempt.created_at), "changed_at": clock.iso(attempt.changed_at)}
                for attempt in self.last
            ],
        }


async def job_report(store: Store, since: datetime, last: int) -> JobReport:
    """Read the report."""
    async with store.reading() as connection:
        counts = await counts_since(connection, since)
        return JobReport(since, counts, await last_since(connection, since, last))


def jobs_route(store: Store, metrics: MinerMetrics) -> web.RouteDef:
    """``/jobs?since_s=86400&last=20`` of the operators' listener, with the declines since the start."""

    async def jobs(request: web.Request) -> web.Response:
        try:
            since_s = _number(request, "since_s", DAY_S, MOST_SINCE_S)
            last = _number(request, "last", _LAST, MOST_LAST)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        report = await job_report(store, clock.now() - timedelta(seconds=since_s), last)
        declined = dict(_declined(metrics))
        return web.json_response({**report.to_json(), "declined_since_start": declined})

    return web.get("/jobs", jobs)


def _declined(metrics: MinerMetrics) -> Iterator[tuple[str, int]]:
    for family in metrics.declines.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                yield sample.labels["reason"], int(sample.value)


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 0 < int(text) <= most):
        raise ValueError(f"{name} {text!r:.40} is no whole number within 1..{most}.")
    return int(text)
