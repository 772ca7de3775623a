"""Prints docs/operate/settings.md from the agents' settings models.

    python -m tools.settings_page docs/operate/settings.md

A test compares the page with what is printed here.
"""

import sys
from pathlib import Path
from typing import Final

from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.runtime.settings import AgentSettings, SettingRow, settings_rows

AGENTS: Final[dict[str, type[AgentSettings]]] = {
    "facilitator": FacilitatorSettings,
    "validator": ValidatorSettings,
    "miner": MinerSettings,
    "executor": ExecutorSettings,
}
_HEAD: Final = """\
# Settings

Every setting of every agent, printed from the code: `python -m tools.settings_page docs/operate/settings.md`

An agent reads one TOML file (`horde miner serve --config miner.toml`) and its environment. A setting
`port` of the miner is `port = 8000` in the file or `HORDE_MINER_PORT=8000` in the environment, which goes
before the file. In the environment a map is JSON, and a list is JSON or has commas between its parts. A
setting that is unknown or has a wrong value is refused at the start, in a sentence that names it, where it
came from and the remedy.
"""


def settings_page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(agent, model) for agent, model in AGENTS.items())])


def _section(agent: str, model: type[AgentSettings]) -> str:
    rows = settings_rows(model, agent)
    return "\n".join(
        [
            f"## {agent.capitalize()}",
            "",
            f"Environment: `HORDE_{agent.upper()}_` and the name in capitals.",
            "",
            "| setting | type | unit | default | meaning |",
            "| --- | --- | --- | --- | --- |",
            *map(_line, rows),
            "",
        ]
    )


def _line(row: SettingRow) -> str:
    default = row.default if row.default == "required" else f"`{row.default}`"
    cells = (f"`{row.name}`", f"`{row.type_name}`", row.unit, default, row.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(settings_page())
