"""What an inventory's agents are as jobs of Nomad: names, ports, machines, databases and variables.

Roles and playbooks ask here and nowhere else. An agent is one entry of ``horde_agents``, as role ``agents``
describes it; what is missing in it is named by that role's preflight, and here counts as empty.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

Agent = Mapping[str, Any]
Site = Mapping[str, Any]

# as in the variables of nomad_jobs/*.nomad.hcl
_PORTS: Final = {
    "facilitator": {"port": 9000},
    "miner": {"port": 8000, "executor_port": 8443},
}


def agent_job(agent: Agent) -> str:
    """The name of its job, by which everything else about it is called, too."""
    if agent.get("kind") == "miner":
        uid = agent.get("uid")
        return f"miner-{'' if uid is None else uid}"
    return str(agent.get("name") or "")


def agent_port(agent: Agent, which: str = "port") -> int:
    """The port by which others reach a facilitator or miner: what its variables say, or its job's own.

    Raises:
        ValueError: what they say is no port that all know before the agent runs.
    """
    own = _PORTS[agent["kind"]][which]
    said = _given(agent, "variables").get(which, own)
    port = int(said) if str(said).isdecimal() else 0
    if not 0 < port < 2**16:
        raise ValueError(
            f"{agent_job(agent)} of horde_agents has the {which} {said!r}: give it a port, such as {own}"
        )
    return port


def agent_database(agent: Agent) -> str:
    """The database of role ``postgresql`` that is its own; none where its data is at somebody else's."""
    return "" if agent.get("database_url_file") else agent_job(agent).replace("-", "_")


def agents_as_jobs(agents: Sequence[Agent], site: Site) -> list[dict[str, Any]]:
    """Each agent with the variables of its job, without secrets.

    ``site`` is what they share:

    * ``groups`` of the inventory, ``machines`` where agents may run, ``kinds``: the group for each kind;
    * ``common``: variables of all jobs; ``miner``: more of them for miners' jobs;
    * ``miner_settings``, ``miner_files``: settings and secret files of miners;
    * ``databases``: whether the inventory has any;
    * ``objects``: ``url``, ``region`` and ``ca_file`` of the store, and its ``users`` with their ``buckets``.
    """
    return [_as_job(agent, site) for agent in agents]


def _as_job(agent: Agent, site: Site) -> dict[str, Any]:
    kind = _wanted_kind(agent)
    is_miner = agent.get("kind") == "miner"
    user = _user(agent, site)
    database = agent_database(agent) if site["databases"] else ""
    settings = site["miner_settings"] if is_miner else _object_settings(user, site)
    files = [
        *(site["miner_files"] if is_miner else []),
        *(["database_ca"] if database else []),
        *(["objects_secret"] if user else []),
        *(["objects_ca"] if user and site["objects"]["ca_file"] else []),
    ]
    return {
        "job": agent_job(agent),
        "kind": agent.get("kind", ""),
        "wanted_kind": kind,
        "allow": agent.get("allow") or [],
        "objects": user.get("name", ""),
        "hotkey_file": agent.get("hotkey_file") or "",
        "database_url_file": agent.get("database_url_file") or "",
        "database": database,
        "variables": {
            **site["common"],
            "machines": _machines(agent, kind, site),
            **({"chain_url": ""} if kind == "trusted_miner" else {}),
            **({"uid": agent.get("uid"), **site["miner"]} if is_miner else {"name": agent_job(agent)}),
            "settings": _texts({**settings, **_given(agent, "settings")}),
            "secret_files": files,
            **_given(agent, "variables"),
        },
    }


def _wanted_kind(agent: Agent) -> str:
    """A miner that a validator trusts is no miner of the chain."""
    kind = str(agent.get("kind", ""))
    return "trusted_miner" if kind == "miner" and "trusted_by" in _given(agent, "settings") else kind


def _machines(agent: Agent, kind: str, site: Site) -> list[str]:
    wanted = agent.get("machines") or site["kinds"].get(kind, "")
    if isinstance(wanted, str):
        members = site["groups"].get(wanted, [])
        wanted = [machine for machine in members if machine in site["machines"]]
    return sorted(wanted, key=str.lower)


def _user(agent: Agent, site: Site) -> Mapping[str, Any]:
    """The user of the object store that a validator is, if it is one."""
    if agent.get("kind") != "validator" or not site["objects"]["url"]:
        return {}
    return next((user for user in site["objects"]["users"] if user["name"] == agent_job(agent)), {})


def _object_settings(user: Mapping[str, Any], site: Site) -> dict[str, str]:
    if not user:
        return {}
    objects = site["objects"]
    buckets = user.get("buckets") or [""]  # preflight names a user without
    return {
        "objects_url": objects["url"],
        "objects_region": objects["region"],
        "prompts_bucket": buckets[0],
        "answers_bucket": buckets[-1],
        "objects_access_key_id": user.get("access_key_id", user["name"]),
        "objects_secret_file": "/secrets/objects_secret",
        **({"objects_ca_file": "/secrets/objects_ca"} if objects["ca_file"] else {}),
    }


def _given(agent: Agent, part: str) -> Mapping[str, Any]:
    return agent.get(part) or {}


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as the variables of a job, which are of one type, take them."""
    return {
        name: value if isinstance(value, str) else json.dumps(_plain(value))
        for name, value in settings.items()
    }


def _plain(value: Any) -> Any:  # noqa: ANN401  (whatever an inventory holds)
    """The value without Ansible's own containers, whose items are templates until they are asked for."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters, by name."""
        return {each.__name__: each for each in (agent_job, agent_port, agent_database, agents_as_jobs)}
