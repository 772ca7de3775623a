"""Prints roles/agents/files/settings.json, by which the role refuses a setting that no agent has.

    python -m tools.setting_names roles/agents/files/settings.json

A test compares the file with what is printed here.
"""

import json
import sys
from pathlib import Path

from horde_agents.runtime.settings import settings_rows
from tools.settings_page import AGENTS


def setting_names() -> str:
    """Agent that an inventory may name → names of its settings, as JSON."""
    # an executor is a holder's, and no inventory names one
    models = {agent: model for agent, model in AGENTS.items() if agent != "executor"}
    names = {agent: [row.name for row in settings_rows(model, agent)] for agent, model in models.items()}
    return json.dumps(names, indent=1) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(setting_names())
