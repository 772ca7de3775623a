"""The roles refuse below the same versions as ``horde doctor``."""

import tomllib

import pytest

from tools.role_readme import defaults
from tools.setup.places import ROOT

_FLOORS = tomllib.loads((ROOT / "horde_agents/cli/checks/floors.toml").read_text())["floor"]


@pytest.mark.parametrize(
    ("role", "program"),
    [
        ("nvidia_driver", "nvidia-driver"),
        ("nvidia_toolkit", "nvidia-container-toolkit"),
        ("nomad", "nomad"),
        ("consul", "consul"),
    ],
)
def test_a_role_s_oldest_is_the_doctor_s_lowest(role: str, program: str) -> None:
    lowest = {floor["name"]: floor["lowest"] for floor in _FLOORS}
    assert defaults(role)[f"{role}_oldest"] == lowest[program]
