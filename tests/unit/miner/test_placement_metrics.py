"""What a miner that shares its slots tells Prometheus."""

from pathlib import Path

from prometheus_client import generate_latest

from horde_agents.agents.miner.chain_facts import ChainFacts
from horde_agents.agents.miner.parts import MinerMetrics
from horde_agents.agents.miner.placed.shared import SharedPlacement
from horde_agents.agents.miner.placed.view import PlacementView
from horde_agents.agents.miner.settings import MinerSettings
from horde_agents.placement.coordination import Session
from horde_agents.placement.records import Garbage, HordeState, Keys, PoolReport, Slot, SlotState
from horde_agents.store.coordination import StoredCoordination

CLASS = "always_on.gpu.h100"


def shown(metrics: MinerMetrics) -> list[str]:
    """The lines about placement."""
    words = ("placed", "holders", "role", "placement", "moves")
    text = generate_latest(metrics.registry).decode()
    return [
        line for line in text.splitlines() if not line.startswith("#") and any(word in line for word in words)
    ]


def test_a_miner_on_its_own_has_no_placement() -> None:
    assert shown(MinerMetrics()) == []


def test_the_picture_of_the_horde_is_told(tmp_path: Path) -> None:
    settings = MinerSettings(hotkey_file=tmp_path, database_url="sqlite://", data_dir=tmp_path)
    view = PlacementView(StoredCoordination(tmp_path / "placement"), Keys("ours"))
    metrics = MinerMetrics()
    shared = SharedPlacement.of(settings, view, "5Alice", "address", ChainFacts(7))
    metrics.placement.shared = shared
    assert "horde_miner_placement_trouble 1.0" in shown(metrics)
    slots = {
        name: Slot(name, CLASS, "gpu1", (), owner, state=SlotState.READY)
        for name, owner in (("a", "5Alice"), ("b", "5Alice"), ("c", "5Bob"))
    }
    view.state = HordeState(
        slots=slots,
        pool_reports={CLASS: PoolReport(5, 3, 2)},
        roles={"keeper": ("5Alice", Session("s")), "choreographer": ("5Bob", Session("t"))},
        garbage=(Garbage("key", "why"),),
    )
    view.trouble, view.read_at_s = None, 1.0
    shared.choreographer.moves["dance"] += 4
    lines = shown(metrics)
    for line in (
        f'horde_miner_placed_slots{{executor_class="{CLASS}",state="ready"}} 2.0',
        f'horde_miner_holders_wanted{{executor_class="{CLASS}"}} 5.0',
        f'horde_miner_holders{{executor_class="{CLASS}"}} 3.0',
        f'horde_miner_holders_waiting{{executor_class="{CLASS}"}} 2.0',
        'horde_miner_role{role="keeper"} 1.0',
        'horde_miner_role{role="choreographer"} 0.0',
        "horde_miner_placement_trouble 0.0",
        "horde_miner_placement_unreadable_keys 1.0",
        'horde_miner_moves_total{why="dance"} 4.0',
    ):
        assert line in lines
    assert any(line.startswith("horde_miner_placement_age_seconds ") for line in lines)
