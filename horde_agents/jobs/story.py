"""The lifecycle table as text, for docs/job-lifecycle.md and ``horde job lifecycle``."""

import sys
from pathlib import Path

from horde_agents.jobs.events import kind_of_type
from horde_agents.jobs.lifecycle import RULES
from horde_agents.jobs.states import MILESTONES, JobState


def lifecycle_table() -> str:
    """Markdown: every event, where it leads, from which states, and who may report it."""
    head = "| event | leads to | from | may be told by | means |\n| --- | --- | --- | --- | --- |"
    rows = [
        f"| {kind_of_type(kind)} | `{rule.target}` | {_sources(rule.target)} | "
        f"{', '.join(sorted(rule.authority))} | {_first_line(kind.__doc__)} |"
        for kind, rule in RULES.items()
    ]
    return "\n".join([head, *rows])


def _sources(target: JobState) -> str:
    if target.is_final:
        return "any state that is not final"
    before = MILESTONES[: MILESTONES.index(target)]
    return f"`{before[0]}`" if len(before) == 1 else f"`{before[0]}` … `{before[-1]}`"


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0]


def _main() -> None:
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if page is None:
        sys.stdout.write(lifecycle_table() + "\n")
        return
    begin, end = "<!-- lifecycle table: begin -->", "<!-- lifecycle table: end -->"
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{lifecycle_table()}\n{end}{after}")


if __name__ == "__main__":
    _main()
