"""Which of Consul's services are agents that the collector reads."""

import importlib.util
from pathlib import Path
from types import ModuleType

_FILE = Path(__file__).parents[3] / "roles" / "monitoring" / "files" / "find_agents.py"


def _program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("find_agents", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_agent_is_read_where_its_operators_listen() -> None:
    services = {
        "_nomad-task-1": {
            "Service": "horde-miner",
            "Tags": ["horde"],
            "Meta": {"nomad_job": "miner-17", "version": "1.2", "operator_addr": "127.0.0.1:21377"},
        },
        "consul": {"Service": "consul", "Tags": None, "Meta": None},
        "of others": {"Service": "web", "Tags": [], "Meta": {"operator_addr": "127.0.0.1:1"}},
        "not yet": {"Service": "horde-miner", "Tags": ["horde"], "Meta": {"nomad_job": "miner-18"}},
    }
    labels = {"agent": "miner-17", "service": "horde-miner", "version": "1.2"}
    assert _program().targets(services) == [{"targets": ["127.0.0.1:21377"], "labels": labels}]
