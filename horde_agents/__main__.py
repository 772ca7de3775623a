"""``python -m horde_agents`` is the command ``horde``."""

from horde_agents.cli.app import main

main()
