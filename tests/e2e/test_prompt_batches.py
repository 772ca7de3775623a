"""A batch of prompts over the real image and a real S3 server; a cheat answers with another model."""

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from horde_agents.cli import config
from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde
from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.testing.object_server import ObjectServer

CLASS = "always_on.test"
CHEAT = "miner-2"
#: a little more than a batch may take by these settings, the trusted run before it included
CYCLE_S = 230
#: cycles that a slow machine may need until it makes the tasks of a batch in time
PATIENCE_CYCLES = 3
#: read by every Python that the cheat's miner starts: whatever a job names, the other model answers
OTHER_MODEL = """
from dataclasses import replace
from horde_agents.clients.docker import DockerEngine, Image

as_asked = DockerEngine.create

async def create(engine, plan):
    return await as_asked(engine, replace(plan, image=Image({image!r})))

DockerEngine.create = create
"""


@dataclass(frozen=True)
class Verdict:
    outcome: str
    why: str


@pytest.fixture
def horde(
    tmp_path: Path, object_server: ObjectServer, prompt_image: str, other_prompt_image: str
) -> Iterator[EmbeddedHorde]:
    secret, cheat = tmp_path / "s3.secret", tmp_path / "cheat"
    secret.write_text(object_server.secret_key)
    cheat.mkdir()
    (cheat / "sitecustomize.py").write_text(OTHER_MODEL.format(image=other_prompt_image))
    validator = {
        **every_executor(tmp_path),
        "cycle_blocks": CYCLE_S,
        "block_s": 1.0,
        "startup_s": 3.0,
        "synthetic_kinds": {CLASS: "llm_prompts"},
        "synthetic_prepare_s": 5.0,
        "synthetic_running_s": 25.0,
        "prompts_image": prompt_image,
        "prompts_per_job": 2,
        "prompts_running_s": 40,
        "objects_url": object_server.url,
        "objects_call_s": 2.0,
        "objects_access_key_id": object_server.access_key_id,
        "objects_secret_file": str(secret),
    }
    private = {"HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true"}
    plan = EmbeddedPlan(
        overrides={
            "validator": validator,
            CHEAT: {"executor_env": {**private, "PYTHONPATH": str(cheat)}},
        },
        miners=("miner", CHEAT),
        trusted={"validator": "miner-trusted"},
        chain={"--block-time-s": 1.0},
    )
    with embedded_horde(tmp_path / "horde", plan) as running:
        yield running


def every_executor(folder: Path) -> dict[str, Any]:
    """The settings of a signed configuration in which a batch tests all executors."""
    hotkey = create_hotkey_file(folder / "owner")
    knobs, signed = folder / "knobs.json", folder / "configuration.json"
    knobs.write_text(json.dumps({"version": 1, "synthetic_share": "1", "single_challenges_per_cycle": 0}))
    config.sign(knobs, folder / "owner", out=signed)
    return {"configuration_source": str(signed), "configuration_signers": [hotkey]}


def verdicts(horde: EmbeddedHorde) -> dict[str, Verdict]:
    """The newest of each miner's synthetic jobs that ran."""
    names = {str(hotkey): name for name, hotkey in horde.hotkeys.items()}
    query = "SELECT miner_hotkey, outcome, why FROM verdicts WHERE outcome != 'not_run' ORDER BY id"
    with sqlite3.connect(f"file:{horde.folder}/validator.sqlite3?mode=ro", uri=True) as connection:
        return {names[row[0]]: Verdict(*row[1:]) for row in connection.execute(query)}


@pytest.mark.docker
@pytest.mark.timeout(900)
def test_honest_miner_passes_and_another_model_fails_with_its_reason(horde: EmbeddedHorde) -> None:
    deadline_s = time.monotonic() + PATIENCE_CYCLES * CYCLE_S
    while (found := verdicts(horde)).keys() < {"miner", CHEAT} and time.monotonic() < deadline_s:
        time.sleep(1)
    assert found.keys() == {"miner", CHEAT}, (horde.folder / "validator.log").read_text()[-4000:]
    assert found["miner"] == Verdict("passed", "")
    assert found[CHEAT] == Verdict("failed", "2 of 2 answers compared differ from the trusted miner's")
