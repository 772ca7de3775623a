"""A holder stays small: what executors must not carry is not imported."""

import subprocess
import sys


def test_a_holder_imports_neither_chain_nor_database() -> None:
    program = (
        "import sys, horde_agents.agents.executor.__main__;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"bittensor", "bittensor_core", "sqlalchemy", "alembic", "asyncpg"}.isdisjoint(said.stdout.split())
    assert "horde_agents" in said.stdout.split()
