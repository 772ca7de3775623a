"""A bar on standard error while a job travels, where a person watches; nothing in a script or a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from horde_agents.jobs.states import MILESTONES, JobState


@contextmanager
def travelling(uuid: str, *, quiet: bool, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Show how far a job has come; yields what to call with each of its statuses."""
    console = console or Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        job = bar.add_task(f"{uuid[:8]}  sent", total=len(MILESTONES))

        def reached(status: str) -> None:
            state = JobState(status)
            done = MILESTONES.index(state) if state in MILESTONES else len(MILESTONES)
            bar.update(job, completed=done, description=f"{uuid[:8]}  {status}")

        yield reached
