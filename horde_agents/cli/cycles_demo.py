"""``horde demo --cycles N``: two validators score three miners, one of which cheats, and weights go on chain."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from horde_agents.cli.devchain import call
from horde_agents.cli.embedded import NETUID, EmbeddedFailed, EmbeddedHorde, EmbeddedPlan, embedded_horde

#: A cycle of seconds instead of hours: two seats, each long enough for a batch.
CYCLE_BLOCKS: Final = 60
BLOCK_S: Final = 1.0
_TEMPO: Final = 20
CHEAT: Final = "miner-3"
_IMAGE: Final = "127.0.0.1:5001/horde/job:1"
_CLASS: Final = "always_on.test"
#: Cycles that may pass beyond those asked for, until all weights are revealed.
_PATIENCE_CYCLES: Final = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """One validator's weights of one cycle, as it has stored them."""

    validator: str
    cycle: int
    state: str
    why: str
    result: Mapping[str, Any]


def plan() -> EmbeddedPlan:
    """Two validators, three miners with two coldkeys, of which the third makes its answers up."""
    validator = {
        "cycle_blocks": CYCLE_BLOCKS,
        "block_s": BLOCK_S,
        "synthetic_kinds": {_CLASS: "digest"},
        "synthetic_image": _IMAGE,
        "weights_poll_s": 1.0,
        "startup_s": 3.0,
        "leeway_s": 4,
    }
    cheat = {"pool": "horde_agents.testing.lying_pool:LyingPool", "slots": {_CLASS: 4}}
    return EmbeddedPlan(
        slots=2,
        overrides={"validator": validator, "validator-2": validator, CHEAT: cheat},
        miners=("miner", "miner-2", CHEAT),
        validators=("validator", "validator-2"),
        coldkeys={CHEAT: CHEAT},
        stake_tao={"validator": 100_000, "validator-2": 60_000},
        chain={"--block-time-s": BLOCK_S, "--tempo": _TEMPO},
        has_beacon=True,
    )


@contextmanager
def cycles_horde(folder: Path) -> Iterator[EmbeddedHorde]:
    """The horde of ``plan``, whose subnet hides weights until they are revealed."""
    with embedded_horde(folder, plan()) as horde:
        url = horde.chain.replace("ws://", "http://")
        hidden = ["SubtensorModule", "CommitRevealWeightsEnabled", [NETUID], True]
        asyncio.run(call(url, "dev_setStorage", hidden))
        yield horde


def wait_for_weights(horde: EmbeddedHorde, cycles: int, tell: Any = None) -> list[Scored]:  # noqa: ANN401
    """The weights of the first ``cycles`` whole cycles of both validators, once the chain has them.

    Raises:
        EmbeddedFailed: they are not there in time.
    """
    deadline = time.monotonic() + (cycles + _PATIENCE_CYCLES) * CYCLE_BLOCKS * BLOCK_S
    said = ""
    while True:
        found = [scored for name in horde.plan.validators for scored in _scored(horde, name)]
        done = [scored for scored in found if scored.state == "confirmed"]
        counts = [sum(s.validator == name for s in done) for name in horde.plan.validators]
        if min(counts) >= cycles:
            return done
        line = ", ".join(f"{s.validator} cycle {s.cycle} {s.state}" for s in found)
        if tell is not None and line != said:
            tell(line)
            said = line
        if time.monotonic() > deadline:
            raise EmbeddedFailed(f"weights are not on the chain after all that time: {line or 'none at all'}")
        time.sleep(1.0)


def _scored(horde: EmbeddedHorde, name: str) -> list[Scored]:
    query = (
        "SELECT w.cycle, w.state, w.why, s.result_json FROM weight_settings w "
        "JOIN cycle_scores s ON s.cycle = w.cycle ORDER BY w.cycle"
    )
    with sqlite3.connect(f"file:{horde.folder}/{name}.sqlite3?mode=ro", uri=True) as connection:
        rows = connection.execute(query).fetchall()
    return [Scored(name, cycle, state, why, json.loads(text)) for cycle, state, why, text in rows]


def show(horde: EmbeddedHorde, found: list[Scored]) -> None:
    """A table of weights by cycle, validator and miner."""
    names = {hotkey: name for name, hotkey in horde.hotkeys.items()}
    typer.echo(f"{'cycle':>6}  {'validator':<12} {'miner':<12} {'points':>7} {'bonus':>6} {'weight':>7}")
    for scored in sorted(found, key=lambda one: (one.cycle, one.validator)):
        for miner in scored.result["miners"]:
            name = names.get(miner["hotkey"], "?")
            if name in horde.plan.miners:
                points = sum(float(part["synthetic"]) for part in miner["classes"].values())
                typer.echo(
                    f"{scored.cycle:>6}  {scored.validator:<12} {name:<12} {points:>7.1f}"
                    f" {miner['bonus']:>6} {miner['weight']:>7}"
                )
