"""A whole horde, shared by the tests of a session; tests that break it start one of their own."""

from collections.abc import Iterator

import pytest

from horde_agents.cli.embedded import EmbeddedHorde, EmbeddedPlan, embedded_horde


@pytest.fixture(scope="session")
def horde(tmp_path_factory: pytest.TempPathFactory, job_image: str) -> Iterator[EmbeddedHorde]:
    """Facilitator, validator and miner with two slots, as processes; ``job_image`` is in their registry."""
    assert job_image
    patient = {"validator": {"incident_pause_s": 0.0, "decline_pause_s": 0.0}}  # tests make faults on purpose
    with embedded_horde(
        tmp_path_factory.mktemp("horde"), EmbeddedPlan(slots=2, overrides=patient)
    ) as running:
        yield running
