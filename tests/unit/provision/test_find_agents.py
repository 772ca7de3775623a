"""Which of Consul's services are agents that the collector reads."""

from tests.fixtures.role_programs import role_program


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
    assert role_program("monitoring", "find_agents").targets(services) == [
        {"targets": ["127.0.0.1:21377"], "labels": labels}
    ]
