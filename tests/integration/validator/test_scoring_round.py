"""A cycle is scored once, from what is stored, and told again on the command line."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner
from typer.testing import Result as Ran

from horde_agents.agents.validator.scoring_round import Pace, ScoringRound
from horde_agents.cli.app import app
from horde_agents.cli.score import ScoreMissing
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, NeuronFact, Outcome, Work
from horde_agents.scoring.inputs import Inputs, InputsWrong
from horde_agents.scoring.weights import score
from horde_agents.store import cycle_scores, verdicts
from horde_agents.store.engine import Store, open_store
from horde_agents.store.tables import cycle_scores as scores_table
from horde_agents.store.tables import verdicts as verdicts_table
from horde_agents.store.verdicts import Verdict

_CLASS = "always_on.test"
_AT = datetime(2026, 1, 2, tzinfo=UTC)
_CONFIGURATION = Configuration(class_weights={_CLASS: 1})
_NEURONS = (
    NeuronFact(0, "miner-a", "cold-a", 0, permit=False),
    NeuronFact(1, "miner-b", "cold-b", 0, permit=False),
    NeuronFact(2, "validator", "cold-v", 300, permit=True),
    NeuronFact(3, "another", "cold-w", 100, permit=True),
    NeuronFact(4, "rich", "cold-r", 9999, permit=False),
)


@dataclass(slots=True)
class KeptSnapshots:
    """Metagraphs by cycle."""

    by_cycle: dict[int, tuple[NeuronFact, ...]] = field(default_factory=lambda: {5: _NEURONS, 6: _NEURONS})

    async def at_cycle(self, cycle: int) -> tuple[NeuronFact, ...] | None:
        return self.by_cycle.get(cycle)


@dataclass(slots=True)
class KeptCounts:
    """Measured counts by cycle."""

    by_cycle: Mapping[int, tuple[BatchCount, ...]] = field(default_factory=dict)

    async def counts(self, cycle: int) -> tuple[BatchCount, ...]:
        return self.by_cycle.get(cycle, ())


def _by_stake(stakes_rao: Mapping[str, int], _: Configuration) -> dict[str, Fraction]:
    return {hotkey: Fraction(stake, sum(stakes_rao.values())) for hotkey, stake in stakes_rao.items()}


def _round(store: Store) -> ScoringRound:
    pace = Pace(netuid=12, length_blocks=722, block_us=12_000_000)
    return ScoringRound(store, "validator", pace, KeptSnapshots(), KeptCounts(), _by_stake)


def _verdict(number: int, miner: str = "miner-a", cycle: int = 5) -> Verdict:
    work = Work(f"attempt-{number}", False, "batch", miner, _CLASS, "", Outcome.PASSED, 5, 10)
    return Verdict(work, f"job-{number}", cycle, "answer was right", _AT)


async def _append(store: Store, *rows: Verdict) -> None:
    for row in rows:
        await store.writer.run(partial(verdicts.append, verdict=row))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/validator.sqlite3"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


async def test_a_cycle_is_scored_from_its_own_verdicts_and_stored(store: Store) -> None:
    await _append(store, _verdict(1), _verdict(2), _verdict(3, "miner-b"), _verdict(4, "miner-b", cycle=6))
    result = await _round(store).score(5, _CONFIGURATION)
    assert result is not None
    assert dict(zip(result.uids, result.weights, strict=True)) == {0: 65535, 1: 32768}
    async with store.reading() as connection:
        kept = await cycle_scores.get(connection, 5)
    assert kept is not None
    assert kept.result_json == result.to_json()
    inputs = Inputs.from_json(kept.inputs_json)
    assert inputs.share == "3/4"
    assert score(inputs) == result


async def test_a_scored_cycle_stays_as_it_was(store: Store) -> None:
    await _append(store, _verdict(1))
    first = await _round(store).score(5, _CONFIGURATION)
    await _append(store, _verdict(2, "miner-b"))
    again = await _round(store).score(5, _CONFIGURATION.model_copy(update={"burn_rate": "1"}))
    assert again == first


async def test_the_share_is_by_the_stakes_of_the_cycle_s_start(store: Store) -> None:
    poorer = tuple(replace(n, stake_rao=1) if n.hotkey == "validator" else n for n in _NEURONS)
    await _append(store, _verdict(1))
    lost = KeptSnapshots({5: _NEURONS, 6: poorer})
    await replace(_round(store), snapshots=lost).score(5, _CONFIGURATION)
    async with store.reading() as connection:
        kept = await cycle_scores.get(connection, 5)
    assert kept is not None
    assert Inputs.from_json(kept.inputs_json).share == "3/4"


async def test_two_rounds_at_once_give_one_result(store: Store) -> None:
    await _append(store, _verdict(1))
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(_round(store).score(5, _CONFIGURATION)) for _ in range(2)]
    assert both[0].result() == both[1].result()


async def test_a_cycle_without_the_metagraph_of_its_end_is_not_scored(store: Store) -> None:
    waiting = replace(_round(store), snapshots=KeptSnapshots({5: _NEURONS}))
    assert await waiting.score(5, _CONFIGURATION) is None
    async with store.reading() as connection:
        assert await cycle_scores.newest(connection) is None


async def test_a_cycle_whose_end_nobody_saw_is_scored_by_the_next_metagraph(store: Store) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    gone = KeptSnapshots({5: _NEURONS, 8: _NEURONS[1:], 9: _NEURONS})
    result = await replace(_round(store), snapshots=gone).score(5, _CONFIGURATION)
    assert result is not None
    assert result.uids == (1,)


async def test_a_miner_that_left_in_the_middle_gets_no_weight(store: Store) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    stranger = NeuronFact(0, "stranger", "cold-s", 0, permit=False)
    left = KeptSnapshots({5: _NEURONS, 6: (stranger, *_NEURONS[1:])})
    result = await replace(_round(store), snapshots=left).score(5, _CONFIGURATION)
    assert result is not None
    assert result.uids == (1,)


async def test_a_validator_without_permit_has_no_allowance(store: Store) -> None:
    work = Work("attempt", True, "", "miner-a", _CLASS, "user", Outcome.PASSED, 10**9, 10**9)
    await _append(store, Verdict(work, "job", 5, "", _AT))
    result = await replace(_round(store), hotkey="rich").score(5, _CONFIGURATION)
    assert result is not None
    assert result.miners[0].classes[0].allowance_points == "0"
    assert result.uids == ()


async def test_the_cycle_before_is_compared_for_the_bonus(store: Store) -> None:
    counts: dict[int, tuple[BatchCount, ...]] = {
        4: (BatchCount("b-4", 1, "miner-a", _CLASS, 8), BatchCount("b-4", 1, "miner-b", _CLASS, 2)),
        5: (BatchCount("b-5", 9, "miner-a", _CLASS, 2), BatchCount("b-5", 9, "miner-b", _CLASS, 8)),
    }
    one_coldkey = tuple(replace(neuron, coldkey="cold") for neuron in _NEURONS)
    await _append(store, _verdict(1))
    snapshots = KeptSnapshots({5: one_coldkey, 6: one_coldkey})
    scored = replace(_round(store), snapshots=snapshots, measurements=KeptCounts(counts))
    result = await scored.score(5, _CONFIGURATION)
    assert result is not None
    assert result.miners[0].classes[0].bonus == "13/10"


async def test_a_metagraph_that_lists_a_uid_twice_is_refused_and_nothing_stored(store: Store) -> None:
    twins = (*_NEURONS, NeuronFact(0, "twin", "cold", 0, permit=False))
    with pytest.raises(InputsWrong, match="two rows for uid 0"):
        await replace(_round(store), snapshots=KeptSnapshots({6: twins})).score(5, _CONFIGURATION)
    async with store.reading() as connection:
        assert await cycle_scores.newest(connection) is None


async def _run(url: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> Ran:
    monkeypatch.setenv("HORDE_VALIDATOR_DATABASE_URL", url)
    monkeypatch.setenv("HORDE_VALIDATOR_HOTKEY_FILE", "none")
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["score", *words]))


async def test_a_stored_score_is_explained_and_listed(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _append(store, _verdict(1), _verdict(2), _verdict(3, "miner-b"))
    await _round(store).score(5, _CONFIGURATION)
    by_uid = await _run(url, monkeypatch, "explain", "1")
    assert by_uid.exit_code == 0
    assert "cycle 5 of netuid 12: weight 32768 of 65535" in by_uid.stdout
    assert (await _run(url, monkeypatch, "explain", "miner-b", "--cycle", "5")).stdout == by_uid.stdout
    listed = await _run(url, monkeypatch, "explain", "all")
    assert len(listed.stdout.splitlines()) == 3
    as_json = json.loads((await _run(url, monkeypatch, "explain", "1", "--json")).stdout)
    assert (as_json["uid"], as_json["weight"]) == (1, 32768)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explain", "77"], "did no work in cycle 5"),
        (["explain", "1", "--cycle", "9"], "Cycle 9 has not been scored; the newest that have: 5."),
        (["replay", "--cycle", "9"], "Cycle 9 has not been scored"),
        (["replay", "--file", "missing.json"], "is no exported score"),
    ],
)
async def test_what_is_not_there_is_named(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    await _append(store, _verdict(1))
    await _round(store).score(5, _CONFIGURATION)
    ran = await _run(url, monkeypatch, *words)
    assert isinstance(ran.exception, ScoreMissing)
    assert says in str(ran.exception)


def test_a_score_that_is_missing_is_one_sentence_and_exit_code_2(url: str) -> None:
    env = os.environ | {"HORDE_VALIDATOR_DATABASE_URL": url, "HORDE_VALIDATOR_HOTKEY_FILE": "none"}
    command = [sys.executable, "-m", "horde_agents", "score", "replay"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "horde: No cycle has been scored yet; the first is when it is over.\n"


async def test_a_replay_gives_the_same_bytes_from_database_log_and_file(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    await _round(store).score(5, _CONFIGURATION)
    await _append(store, _verdict(3))  # too late for the cycle: it changes nothing
    assert (await _run(url, monkeypatch, "replay", "--log")).exit_code == 0
    file = tmp_path / "score.json"
    assert (await _run(url, monkeypatch, "export", "--out", str(file))).exit_code == 0
    assert (await _run(url, monkeypatch, "export")).stdout == file.read_text()
    ran = await _run(url, monkeypatch, "replay", "--file", str(file))
    assert (ran.exit_code, ran.stdout) == (0, "Cycle 5 comes out the same, byte for byte.\n")


async def test_a_changed_result_is_found_by_a_replay(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    result = await _round(store).score(5, _CONFIGURATION)
    assert result is not None
    bribed = replace(result, weights=(65535, 65534)).to_json()
    change = update(scores_table).values(result_json=bribed)
    await store.writer.run(lambda c: c.execute(change))
    ran = await _run(url, monkeypatch, "replay")
    assert ran.exit_code == 1
    assert "the result is another" in ran.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"outcome": "failed"}, "does not fit its hash"),
        ({"chain_sha256": "ab" * 32}, "does not fit its hash"),
    ],
)
async def test_a_changed_log_is_found_by_a_replay_of_the_log(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], says: str
) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    await _round(store).score(5, _CONFIGURATION)
    change = update(verdicts_table).where(verdicts_table.c.attempt_uuid == "attempt-2").values(changes)
    await store.writer.run(lambda c: c.execute(change))
    assert (await _run(url, monkeypatch, "replay")).exit_code == 0
    ran = await _run(url, monkeypatch, "replay", "--log")
    assert ran.exit_code == 1
    assert says in ran.stderr


async def _forge(store: Store, **changes: object) -> None:
    """Inputs that never were, with the very result that they give."""
    async with store.reading() as connection:
        kept = await cycle_scores.get(connection, 5)
    assert kept is not None
    forged = replace(Inputs.from_json(kept.inputs_json), **changes)  # type: ignore[arg-type]
    texts = {"inputs_json": forged.to_json(), "result_json": score(forged).to_json()}
    await store.writer.run(lambda c: c.execute(update(scores_table).values(texts)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"work": ()}, "the verdict log sums up to other work"),
        ({"verdicts_sha256": "ab" * 32}, "no longer has the row that the inputs end with"),
    ],
)
async def test_forged_inputs_are_found_by_a_replay_of_the_log(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], says: str
) -> None:
    await _append(store, _verdict(1), _verdict(2, "miner-b"))
    await _round(store).score(5, _CONFIGURATION)
    await _forge(store, **changes)
    assert (await _run(url, monkeypatch, "replay")).exit_code == 0
    ran = await _run(url, monkeypatch, "replay", "--log")
    assert ran.exit_code == 1
    assert says in ran.stderr


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"inputs":{},"result":{},"more":1}', '{"inputs":1.5}'])
async def test_a_file_that_is_no_exported_score_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "score.json"
    file.write_text(text)
    ran = await _run(url, monkeypatch, "replay", "--file", str(file))
    assert isinstance(ran.exception, ScoreMissing)
