"""A development chain of one's own, at a quick pace, and keys for it."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bittensor_core import Keypair

from horde_agents.devchain.node import Node, running_node
from horde_agents.devchain.server import serving

NETUID = 12
OTHER_NETUID = 13


@dataclass
class Chain:
    """A served chain."""

    node: Node
    url: str
    port: int


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK keeps metadata and symbols by genesis; nothing of a test may reach another."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE", "BTCLI_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    async with (
        running_node(
            tmp_path / "chain.jsonl", block_time_s=0.1, netuids=(NETUID, OTHER_NETUID), tempo=10
        ) as node,
        serving(node, "127.0.0.1", 0) as port,
    ):
        yield Chain(node, f"ws://127.0.0.1:{port}", port)


def wallet(name: str) -> Any:
    """A development wallet as the SDK takes it."""
    cold = Keypair.create_from_uri(f"//{name}")
    return SimpleNamespace(
        coldkey=cold,
        coldkeypub=Keypair(ss58_address=cold.ss58_address),
        hotkey=Keypair.create_from_uri(f"//{name}//hot"),
    )


def btcli(tmp_path: Path, *words: str) -> str:
    """What the stock command line prints."""
    program = Path(sys.executable).parent / "btcli"
    result = subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "LC_ALL": "C.UTF-8"},
    )
    assert result.returncode == 0, f"{words}: {result.stdout[-1500:]}\n{result.stderr[-1500:]}"
    return result.stdout
