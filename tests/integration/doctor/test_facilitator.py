"""``horde doctor --facilitator-config``: a facilitator's settings, its database, and itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from horde_agents.agents.facilitator.app import running_facilitator
from horde_agents.agents.facilitator.settings import FacilitatorSettings
from horde_agents.cli.app import app
from horde_agents.cli.embedded import write_config
from horde_agents.testing.server_process import free_ports


async def look(folder: Path, settings: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """The exit code, and what is said of each check; the wrong ones begin so."""
    config = folder / "facilitator.toml"
    write_config(config, settings)
    words = ["doctor", "--json", "--no-machine", "--facilitator-config", str(config)]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return result.exit_code, {
        each["check"]: ("" if each["fine"] else "wrong: ") + each["says"] for each in found
    }


async def test_a_facilitator_is_looked_at_without_its_machine(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {
        "database_url": f"sqlite:///{tmp_path}/facilitator.sqlite3",
        "host": "127.0.0.1",
        "port": 0,
        "operator_port": port,
    }
    agent = f"agent 127.0.0.1:{port}"
    code, found = await look(tmp_path, settings)
    assert code == 1
    assert found.keys() == {"database", agent}
    assert found[agent].endswith("is it running, and is this its operator port?")
    async with running_facilitator(FacilitatorSettings.model_validate(settings)):
        code, found = await look(tmp_path, settings)
    assert (code, found[agent]) == (0, "ready")
    assert found["database"].startswith("answers, at schema")


async def test_a_chain_that_a_facilitator_cannot_reach_is_named(tmp_path: Path) -> None:
    settings = {
        "database_url": f"sqlite:///{tmp_path}/facilitator.sqlite3",
        "operator_port": 0,
        "chain_url": "ws://127.0.0.1:9",
    }
    code, found = await look(tmp_path, settings)
    assert code == 1
    assert found["chain"].startswith("wrong: ")


def test_a_profile_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(app, ["doctor", "--profile", "tests"])
    assert result.exit_code == 2
    assert "there is no profile" in result.output
