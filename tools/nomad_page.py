"""Puts the table of docs/operate/nomad.md into it: what Nomad says of a holder, and what the horde does.

    python -m tools.nomad_page docs/operate/nomad.md

A test compares the page with what is printed here.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from horde_agents.placement.standings import MEANINGS, AllocationFacts, Standing, child_standing

BEGIN: Final = "<!-- standings: begin -->\n"
END: Final = "<!-- standings: end -->"


@dataclass(frozen=True, slots=True)
class Case:
    """Something that Nomad may say; ``says`` is how its UI and CLI put it."""

    says: str
    allocation: AllocationFacts | None = None
    stopped: bool = False
    blocked: bool = False

    @property
    def standing(self) -> Standing:
        """What it is to the horde, by the code that the keeper runs."""
        return child_standing(self.allocation, stopped=self.stopped, dead=False, blocked=self.blocked)


def _allocation(
    status: str, desired: str = "run", description: str = "", exit_code: int | None = None
) -> Case:
    words = f"status `{status}`"
    if desired != "run":
        words += f", desired `{desired}`"
    if description:
        words += f", “{description}”"
    if exit_code is not None:
        words += f", exit code {exit_code}"
    return Case(words, AllocationFacts(status, desired, description, exit_code))


CASES: Final = (
    Case("no allocation, no evaluation yet"),
    Case("no allocation, evaluation `blocked`", blocked=True),
    Case("no allocation, job stopped", stopped=True),
    _allocation("pending"),
    _allocation("running"),
    _allocation("unknown"),
    _allocation("complete", exit_code=0),
    _allocation("complete", exit_code=1),
    _allocation("complete", "stop"),
    _allocation("complete", "stop", "alloc is being migrated"),
    _allocation("complete", "evict"),
    _allocation("complete", description="allocation exceeded max_run_duration"),
    _allocation("failed"),
    _allocation("lost"),
)


def standings_table() -> str:
    """The table."""
    rows = ["| Nomad says of a holder | the horde calls it | its slot | the keeper | a job on it |"]
    rows.append("| --- | --- | --- | --- | --- |")
    rows += [f"| {case.says} | {' | '.join(_consequences(case.standing))} |" for case in CASES]
    return "\n".join(rows)


def _consequences(standing: Standing) -> tuple[str, str, str, str]:
    meaning = MEANINGS[standing]
    named = f"`{standing.value}`" + (f": {meaning.says}" if meaning.says else "")
    if meaning.fault is not None:
        job = f"ends as `horde_failed`, `{meaning.fault.value}`"
    elif meaning.ended:
        job = "had none: a holder ends by itself between jobs"
    elif meaning.keeps_slot:
        job = "goes on while its executor is connected, or back within `reconnect_grace_s`"
    else:
        job = "waits for its executor"
    return (
        named,
        "kept" if meaning.keeps_slot else "free",
        "dispatches the next" if meaning.ended else "waits",
        job,
    )


def page_with_table(page: str) -> str:
    """The page with the table of now."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}{standings_table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page_with_table(path.read_text()))
