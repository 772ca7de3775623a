"""A whole horde, shared by the tests of a session; tests that break it start one of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from horde_agents.cli.embedded import EmbeddedHorde, embedded_horde


@pytest.fixture(scope="session")
def horde(tmp_path_factory: pytest.TempPathFactory, job_image: str) -> Iterator[EmbeddedHorde]:
    """Facilitator, validator and miner with two slots, as processes; ``job_image`` is in their registry."""
    assert job_image
    with embedded_horde(tmp_path_factory.mktemp("horde"), slots=2) as running:
        yield running


@pytest.fixture
def own_horde(tmp_path: Path, job_image: str) -> Iterator[EmbeddedHorde]:
    """A horde that the test may break."""
    assert job_image
    with embedded_horde(tmp_path / "horde", slots=1) as running:
        yield running
