"""``horde demo --cycles N``: two validators score three miners, of which one cheats, and set weights."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from horde_agents.cli import config, score
from horde_agents.cli.devchain import call
from horde_agents.cli.embedded import NETUID, EmbeddedFailed, EmbeddedHorde, EmbeddedPlan, embedded_horde
from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.scoring.result import MinerScore, Result

#: A cycle of a minute instead of hours: two seats, each long enough for a batch.
CYCLE_BLOCKS: Final = 60
BLOCK_S: Final = 1.0
_TEMPO: Final = 20
#: Cycles that may pass beyond those asked for, until all weights are revealed.
_PATIENCE_CYCLES: Final = 3
_LOOK_S: Final = 1.0
CHEAT: Final = "miner-3"
_IMAGE: Final = "127.0.0.1:5001/horde/job:1"
_CLASS: Final = "always_on.test"


@dataclass(frozen=True, slots=True)
class Scored:
    """One validator's weights of one cycle; ``state`` is how far they have come on the chain."""

    validator: str
    cycle: int
    state: str
    result: Result


def plan(folder: Path) -> EmbeddedPlan:
    """Two validators, three miners with two coldkeys, of which the third lies, and a trusted miner."""
    configuration = _configuration(folder)
    validator = {
        **configuration,
        "cycle_blocks": CYCLE_BLOCKS,
        "block_s": BLOCK_S,
        "synthetic_kinds": {_CLASS: "digest"},
        "synthetic_image": _IMAGE,
        "weights_poll_s": _LOOK_S,
        "startup_s": 3.0,
        "synthetic_prepare_s": 0.0,
    }
    cheat = {"pool": "horde_agents.testing.lying_pool:LyingPool", "slots": {_CLASS: 4}}
    return EmbeddedPlan(
        slots=2,
        overrides={"validator": validator, "validator-2": validator, CHEAT: cheat},
        miners=("miner", "miner-2", CHEAT),
        validators=("validator", "validator-2"),
        coldkeys={CHEAT: CHEAT},
        stake_tao={"validator": 100_000, "validator-2": 60_000},
        trusted={"validator": "miner-trusted"},
        chain={"--block-time-s": BLOCK_S, "--tempo": _TEMPO},
        has_beacon=True,
    )


def _configuration(folder: Path) -> dict[str, object]:
    """A signed dynamic configuration: in a cycle of a minute each executor is tested, in a real one some."""
    key = folder / "keys" / "owner"
    hotkey = create_hotkey_file(key)
    knobs, signed = folder / "knobs.json", folder / "configuration.json"
    knobs.write_text(json.dumps({"version": 1, "synthetic_share": "1", "single_challenges_per_cycle": 0}))
    config.sign(knobs, key, out=signed)
    return {"configuration_source": str(signed), "configuration_signers": [hotkey]}


@contextmanager
def cycles_horde(folder: Path) -> Iterator[EmbeddedHorde]:
    """The horde of ``plan``, whose subnet hides weights until they are revealed."""
    with embedded_horde(folder, plan(folder)) as horde:
        url = horde.chain.replace("ws://", "http://")
        hidden = ["SubtensorModule", "CommitRevealWeightsEnabled", [NETUID], True]
        asyncio.run(call(url, "dev_setStorage", hidden))
        yield horde


def wait_for_weights(horde: EmbeddedHorde, cycles: int, tell: Callable[[str], None]) -> list[Scored]:
    """The weights of ``cycles`` cycles of both validators, once the chain has them; ``tell`` hears of steps.

    Raises:
        EmbeddedFailed: they are not there in time.
    """
    deadline = time.monotonic() + (cycles + _PATIENCE_CYCLES) * CYCLE_BLOCKS * BLOCK_S
    said = ""
    while True:
        found = [scored for name in horde.plan.validators for scored in _scored(horde, name)]
        done = [scored for scored in found if scored.state == "confirmed"]
        if all(sum(one.validator == name for one in done) >= cycles for name in horde.plan.validators):
            return done
        line = "; ".join(f"{one.validator}, cycle {one.cycle}: {one.state}" for one in found[-4:])
        if line != said:
            tell(line)
            said = line
        if time.monotonic() > deadline:
            raise EmbeddedFailed(f"The weights are not on the chain in time: {line or 'none were set'}.")
        time.sleep(_LOOK_S)


def show(horde: EmbeddedHorde, found: Sequence[Scored]) -> None:
    """Weights by cycle and validator; then how the newest came about, and that they come out the same."""
    names = {str(hotkey): name for name, hotkey in horde.hotkeys.items()}
    typer.echo(f"\n{'cycle':>6}  {'validator':<12} {'miner':<9} {'passed':>6} {'of':>4} {'weight':>7}")
    for scored in sorted(found, key=lambda one: (one.cycle, one.validator)):
        for miner in scored.result.miners:
            passed, tested = _tests(miner)
            row = f"{names[miner.hotkey]:<9} {passed:>6} {tested:>4} {miner.weight:>7}"
            typer.echo(f"{scored.cycle:>6}  {scored.validator:<12} {row}")
    settings = horde.folder / "validator.toml"
    newest = max(one.cycle for one in found if one.validator == "validator")
    for name in ("miner", CHEAT):
        typer.echo(f"\n$ horde score explain {horde.hotkeys[name]}   # {name}")
        score.explain(horde.hotkeys[name], newest, settings)
    typer.echo("\n$ horde score replay --log")
    for one in found:
        score.replay(one.cycle, horde.folder / f"{one.validator}.toml", log=True)


def cheat_has_lost(horde: EmbeddedHorde, found: Sequence[Scored]) -> bool:
    """Whether the miner that lies has no weight in any cycle, and honest ones have."""
    cheat = horde.hotkeys[CHEAT]
    weights = [(miner.hotkey == cheat, miner.weight) for one in found for miner in one.result.miners]
    return not any(weight for is_cheat, weight in weights if is_cheat) and any(
        weight for is_cheat, weight in weights if not is_cheat
    )


def _tests(miner: MinerScore) -> tuple[int, int]:
    """Synthetic jobs of a miner that passed, and all that ran."""
    passed = sum(part.synthetic_passed for part in miner.classes)
    ran = sum(
        count
        for part in miner.classes
        for name, count in part.outcomes.items()
        if name.startswith("synthetic") and "not_run" not in name
    )
    return passed, ran


def _scored(horde: EmbeddedHorde, name: str) -> list[Scored]:
    query = (
        "SELECT w.cycle, w.state, s.result_json FROM weight_settings w "
        "JOIN cycle_scores s ON s.cycle = w.cycle ORDER BY w.cycle"
    )
    with sqlite3.connect(f"file:{horde.folder}/{name}.sqlite3?mode=ro", uri=True) as connection:
        rows = connection.execute(query).fetchall()
    return [Scored(name, cycle, state, Result.from_json(text)) for cycle, state, text in rows]
