"""The simulated economics: the product's scores, Yuma's rules, the same bytes from the same seed."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.cycles import DEFAULT_LENGTH_BLOCKS
from horde_agents.scoring.facts import BatchCount, BatchWork, MinerWork, NeuronFact, OrganicWork, Outcome
from horde_agents.scoring.inputs import Inputs
from horde_agents.scoring.weights import score
from horde_agents.simulation.acts import honest_act, nothing_seen, observe
from horde_agents.simulation.play import play
from horde_agents.simulation.report import Row, compared, largest_honest_loss, picture, table
from horde_agents.simulation.scores import Facts, points_of, weights_u16
from horde_agents.simulation.strategies import STRATEGIES, UnknownStrategy, strategy_named
from horde_agents.simulation.world import (
    BLOCK_US,
    CLASSES,
    PROPOSED,
    Ints,
    Rules,
    Setting,
    World,
    placed,
    world,
)
from horde_agents.simulation.yuma import consensus, epoch

ROOT = Path(__file__).parents[3]
#: Stake that gives a little more than its due, bounded by how far honest validators differ.
PAYS_A_LITTLE = {"self-dealing, a little", "job splitting", "split stake"}


@cache
def _short_run() -> tuple[Row, ...]:
    return tuple(compared(Setting()))


def _inputs(facts: Facts, row: int, world_: World) -> Inputs:
    miners = [f"miner {index:03}" for index in range(len(world_.coldkeys))]
    neurons = [
        NeuronFact(index, name, f"cold {world_.coldkeys[index]}", 0, False)
        for index, name in enumerate(miners)
    ]
    names = [CLASSES[index] for index in world_.classes]
    return Inputs(
        netuid=12,
        cycle=1,
        length_blocks=DEFAULT_LENGTH_BLOCKS,
        block_us=BLOCK_US,
        validator_hotkey="validator",
        share="{}/{}".format(*float(world_.stakes[row]).as_integer_ratio()),
        configuration=Configuration(),
        neurons=tuple(neurons),
        work=tuple(
            MinerWork(
                name,
                names[m],
                (
                    BatchWork(
                        "b2",
                        {
                            Outcome.EXCUSED: int(facts.excused[row, m]),
                            Outcome.PASSED: int(facts.passed[row, m]),
                        },
                    ),
                ),
                _organic(int(facts.organic_us[row, m])),
            )
            for m, name in enumerate(miners)
        ),
        counts=_counts(facts.counts[row], "b2", 200, miners, names),
        previous_counts=_counts(facts.previous_counts[row], "b1", 100, miners, names),
        verdicts_sha256="",
    )


def _organic(us: int) -> OrganicWork:
    """One user's time; little of it is topped up to a point."""
    if not us:
        return OrganicWork({}, 0, 0, 0)
    if us < Configuration().organic_s_per_point * 1_000_000:
        return OrganicWork({Outcome.PASSED: 1}, 1, 0, 0)
    return OrganicWork({Outcome.PASSED: 1}, 0, 1, us)


def _counts(
    counts: Ints, batch: str, block: int, miners: list[str], names: list[str]
) -> tuple[BatchCount, ...]:
    return tuple(
        BatchCount(batch, block, name, names[m], int(counts[m]))
        for m, name in enumerate(miners)
        if counts[m] >= 0
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_arrays_score_as_the_product_does(seed: int) -> None:
    world_, rng = world(Setting(seed=seed)), np.random.default_rng(seed)
    seen = nothing_seen(world_)
    dances = np.arange(len(world_.coldkeys)) < 120
    for cycle in range(3):
        act = honest_act(world_, cycle, placed(world_, cycle, dances))
        seen = observe(world_, act, np.arange(0, 64, 1 + cycle), seen, rng)
        points = points_of(seen.facts, world_.stakes, world_.coldkeys, Configuration())
        fast = weights_u16(points, world_.classes, Configuration())
        for row in (0, 1, 6, 12):
            result = score(_inputs(seen.facts, row, world_))
            exact = np.zeros(len(world_.coldkeys), dtype=np.int64)
            exact[list(result.uids)] = result.weights
            assert (fast[row] == exact).all()


def test_a_minority_cannot_raise_consensus_above_what_others_give() -> None:
    weights = np.array([[0.1, 0.9], [0.1, 0.9], [1.0, 0.0]])
    assert consensus(weights, np.array([0.3, 0.21, 0.49])).tolist() == [0.1, 0.9]
    assert consensus(weights, np.array([0.2, 0.25, 0.55])).tolist() == [1.0, 0.0]


def test_who_sets_the_same_weights_gets_dividends_by_stake() -> None:
    paid = epoch(np.full((2, 3), 1 / 3), np.array([0.25, 0.75]), np.zeros((2, 3)))
    assert paid.dividends.tolist() == pytest.approx([0.25, 0.75])
    assert paid.incentive.sum() == pytest.approx(1)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = (play(Setting(seed=5), cycles=6) for _ in range(2))
    assert one.incentive.tobytes() == two.incentive.tobytes()
    assert one.dividends.tobytes() == two.dividends.tobytes()
    assert one.incentive.tobytes() != play(Setting(seed=6), cycles=6).incentive.tobytes()


@pytest.mark.parametrize("name", [s.name for s in STRATEGIES if s.name not in PAYS_A_LITTLE])
def test_the_cheat_earns_less_than_honesty(name: str) -> None:
    assert not next(row for row in _short_run() if row.strategy == name).pays


@pytest.mark.parametrize("name", sorted(PAYS_A_LITTLE))
def test_what_validators_differ_by_bounds_the_gain(name: str) -> None:
    """It pays by less than one percent: a known limit, told in docs/economics.md."""
    assert next(row for row in _short_run() if row.strategy == name).all_ppht <= 101_000


def test_the_bound_on_excuses_takes_the_gain_of_colluding_ones_away() -> None:
    colluding = [strategy_named("colluding excuses")]
    (unbounded,) = compared(Setting(rules=Rules(proven_batches=0)), colluding)
    (bounded,) = compared(Setting(), colluding)
    assert unbounded.all_ppht > 105_000
    assert bounded.all_ppht <= 101_000


def test_the_proposed_rules_make_a_loss_of_hot_and_cold_executors() -> None:
    (proposed,) = compared(Setting(rules=PROPOSED), [strategy_named("hot and cold")])
    assert proposed.all_ppht < next(r for r in _short_run() if r.strategy == "hot and cold").all_ppht


def test_no_honest_miner_loses_more_than_one_percent_to_noise() -> None:
    assert largest_honest_loss(Setting()) <= 0.01


def test_the_page_shows_the_short_run() -> None:
    page = ROOT / "docs" / "economics.md"
    assert table(_short_run()) in page.read_text(), "run: horde simulate, and put its table into the page"
    assert (
        picture(_short_run(), "Income against honesty: 30% of stake, 140 cycles, seed 12")
        == (page.parent / "economics.svg").read_text()
    )


def test_half_of_the_stake_is_refused() -> None:
    with pytest.raises(ValueError, match=r"below 0\.5"):
        world(replace(Setting(), coalition=0.5))


def test_an_unknown_strategy_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownStrategy, match="hot and cold"):
        strategy_named("magic")
