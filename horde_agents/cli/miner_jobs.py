"""``horde miner jobs``: am I getting jobs, with which outcomes?"""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from horde_agents.cli.columns import columns
from horde_agents.cli.spans import span
from horde_agents.runtime import clock
from horde_agents.runtime.settings import load_settings

if TYPE_CHECKING:
    from horde_agents.agents.miner.job_report import JobReport


def jobs(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings file (TOML); the environment goes before it."),
    ] = None,
    since: Annotated[
        timedelta, typer.Option(parser=span, metavar="SPAN", help="How far back: 30m, 24h, 7d.")
    ] = "24h",  # type: ignore[assignment]  # typer gives the parser its default as text
    last: Annotated[int, typer.Option(min=1, max=500, help="Jobs shown one by one, the newest.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Jobs that this miner took: counts by outcome, class and validator, and the last ones."""
    from horde_agents.agents.miner.job_report import job_report
    from horde_agents.agents.miner.settings import MinerSettings
    from horde_agents.store.engine import open_store

    database_url = load_settings(MinerSettings, "miner", config).database_url

    async def read() -> "JobReport":
        async with open_store(database_url) as store:
            return await job_report(store, clock.now() - since, last)

    report = asyncio.run(read())
    typer.echo(json.dumps(report.to_json()) if as_json else "\n".join(_lines(report)))


def _lines(report: "JobReport") -> list[str]:
    since = f"{report.since:%Y-%m-%d %H:%M} UTC"
    if not report.counts:
        return [
            f"No job was taken since {since}.",
            "Offers that were declined: /jobs of the operators' port. What may be wrong: horde doctor.",
        ]
    by_state: Counter[str] = Counter()
    for count in report.counts:
        by_state[count.state.value] += count.attempts
    total = ", ".join(f"{many} {state}" for state, many in by_state.most_common())
    counts = [(c.attempts, c.state.value, c.executor_class, c.validator_hotkey) for c in report.counts]
    shown = [
        (
            f"{job.created_at:%m-%d %H:%M:%S}",
            job.uuid[:8],
            job.executor_class,
            job.validator_hotkey[:8],
            f"{(job.changed_at - job.created_at).total_seconds():,.1f} s",
            job.state.value,
            job.reason,
        )
        for job in report.last
    ]
    return [
        f"{by_state.total()} jobs since {since}: {total}",
        "",
        *columns(("jobs", "outcome", "class", "validator"), counts),
        "",
        *columns(("taken (UTC)", "attempt", "class", "by", "took", "outcome", "reason"), shown),
    ]
