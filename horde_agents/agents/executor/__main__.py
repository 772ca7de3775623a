"""Starts a holder from its environment alone: ``python -m horde_agents.agents.executor``."""

import os
import sys

from horde_agents.agents.executor.allocation import AllocationWrong, allocation_settings
from horde_agents.agents.executor.holder import hold_slot
from horde_agents.agents.executor.settings import ExecutorSettings
from horde_agents.runtime.logs import set_up_logs
from horde_agents.runtime.settings import SettingsWrong, load_settings


def main() -> int:
    """Hold the slot until told to stop; 2 when the settings are wrong."""
    try:
        settings = load_settings(ExecutorSettings, "executor", environ=allocation_settings(os.environ))
    except (SettingsWrong, AllocationWrong) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs("executor", settings.log_level)
    return hold_slot(settings)


if __name__ == "__main__":
    sys.exit(main())
