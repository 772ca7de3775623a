"""A whole horde on this machine: chain and agents as child processes, their files in one folder."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from horde_agents.cli.devchain import DevchainRefused, call
from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.devchain.subnets import RAO
from horde_agents.protocol.signing import Hotkey
from horde_agents.testing.server_process import free_ports

NETUID: Final = 12
_STAKE_TAO: Final = 100_000
_READY_S: Final = 60.0
_END_S: Final = 45.0


class EmbeddedFailed(Exception):
    """An agent did not come up or ended by itself; the text names its log."""


@dataclass(frozen=True, slots=True)
class EmbeddedPlan:
    """What to start; names are an agent's kind, or one with a dash and more, such as ``miner-2``.

    ``slots`` of each miner. ``overrides`` are settings by agent that go before those of the demo; they may
    name modules of ``python_path``. Miners have a UID each, and the coldkey of the first one unless
    ``coldkeys`` names another miner's. ``stake_tao`` by validator; ``trusted`` has the miner that serves a
    validator alone, by validator. ``chain`` are options of ``horde devchain serve``.
    """

    slots: int = 1
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    python_path: Path | None = None
    miners: Sequence[str] = ("miner",)
    validators: Sequence[str] = ("validator",)
    coldkeys: Mapping[str, str] = field(default_factory=dict)
    stake_tao: Mapping[str, int] = field(default_factory=dict)
    trusted: Mapping[str, str] = field(default_factory=dict)
    chain: Mapping[str, Any] = field(default_factory=dict)
    has_beacon: bool = False

    @property
    def all_miners(self) -> tuple[str, ...]:
        """Those of the metagraph, and the trusted ones."""
        return (*self.miners, *self.trusted.values())

    @property
    def agents(self) -> tuple[str, ...]:
        """All agents, in the order of their ports."""
        return ("facilitator", *self.validators, *self.all_miners)


@dataclass(frozen=True, slots=True)
class EmbeddedHorde:
    """A running horde: where users, operators and readers of receipts find it.

    ``miners`` are the addresses of the miners by name; the first is called "miner".
    """

    folder: Path
    plan: EmbeddedPlan
    facilitator: str
    miners: Mapping[str, str]
    chain: str
    operators: Mapping[str, str]
    user_file: Path
    hotkeys: Mapping[str, Hotkey]
    processes: "dict[str, subprocess.Popen[bytes]]"

    @property
    def user(self) -> Hotkey:
        """Who submits."""
        return self.hotkeys["user"]

    @property
    def validator(self) -> Hotkey:
        """Who takes the jobs."""
        return self.hotkeys["validator"]

    @property
    def miner(self) -> str:
        """The first miner's public address."""
        return self.miners["miner"]

    @property
    def miner_hotkey(self) -> Hotkey:
        """The first miner's hotkey."""
        return self.hotkeys["miner"]


@contextmanager
def embedded_horde(folder: Path, plan: EmbeddedPlan | None = None) -> Iterator[EmbeddedHorde]:
    """Start everything below ``folder``, wait until it is ready, and end all of it with the block.

    Raises:
        EmbeddedFailed: something did not become ready.
    """
    plan = plan or EmbeddedPlan()
    keys = {name: folder / "keys" / name for name in ("user", *plan.validators, *plan.all_miners)}
    hotkeys = {name: create_hotkey_file(path) for name, path in keys.items()}
    ports = _ports(plan)
    for name, config in _configs(folder, plan, keys, hotkeys, ports).items():
        write_config(folder / f"{name}.toml", {**config, **plan.overrides.get(name, {})})
    with ExitStack() as stack:
        processes = {"devchain": _started("devchain", folder, _devchain(folder, plan, ports))}
        stack.callback(_end_all, processes)
        _populate(ports["devchain"], plan, hotkeys)
        for name in ("facilitator", *plan.validators):
            _horde(kind_of(name), "allow", hotkeys["user"], "--config", str(folder / f"{name}.toml"))
        # the miners before the validators, whose first reading of the chain then has their axons
        operators = {name: f"127.0.0.1:{ports[f'{name} operators']}" for name in plan.agents}
        for group in (("facilitator", *plan.all_miners), plan.validators):
            for name in group:
                processes[name] = _started(name, folder, _agent(name, folder, plan), plan.python_path)
            for name in group:
                _wait_ready(name, operators[name], processes[name], folder)
        yield EmbeddedHorde(
            folder,
            plan,
            f"http://127.0.0.1:{ports['facilitator']}",
            {name: f"http://127.0.0.1:{ports[name]}" for name in plan.miners},
            f"ws://127.0.0.1:{ports['devchain']}",
            operators,
            keys["user"],
            hotkeys,
            processes,
        )


def kind_of(name: str) -> str:
    """The kind of agent that a name stands for."""
    return name.partition("-")[0]


def _ports(plan: EmbeddedPlan) -> dict[str, int]:
    listeners = ("devchain", "facilitator", *(f"{name} operators" for name in plan.agents))
    listeners += (*plan.all_miners, *(f"{name} executors" for name in plan.all_miners))
    listeners += tuple(f"{name} api" for name in plan.validators)
    return dict(zip(listeners, free_ports(len(listeners)), strict=True))


def _chain(ports: Mapping[str, int]) -> dict[str, Any]:
    return {"chain_url": f"ws://127.0.0.1:{ports['devchain']}", "netuid": NETUID, "chain_poll_s": 5.0}


def _configs(
    folder: Path,
    plan: EmbeddedPlan,
    keys: Mapping[str, Path],
    hotkeys: Mapping[str, Hotkey],
    ports: Mapping[str, int],
) -> dict[str, dict[str, Any]]:
    configs = {"facilitator": _facilitator_config(folder, ports)}
    for name in plan.validators:
        configs[name] = _validator_config(name, folder, keys[name], ports)
    for name in plan.all_miners:
        configs[name] = _miner_config(name, folder, keys[name], ports, plan.slots)
    for validator, miner in plan.trusted.items():
        configs[validator]["trusted_miner"] = {"host": "127.0.0.1", "port": ports[miner]}
        del configs[miner]["chain_url"]
        configs[miner]["trusted_by"] = hotkeys[validator]
    return configs


def _facilitator_config(folder: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_chain(ports),
        "database_url": f"sqlite:///{folder}/facilitator.sqlite3",
        "host": "127.0.0.1",
        "port": ports["facilitator"],
        "operator_port": ports["facilitator operators"],
    }


def _validator_config(name: str, folder: Path, hotkey_file: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_chain(ports),
        "hotkey_file": str(hotkey_file),
        "database_url": f"sqlite:///{folder}/{name}.sqlite3",
        "facilitator_urls": [f"ws://127.0.0.1:{ports['facilitator']}/ws/v0/"],
        "operator_port": ports[f"{name} operators"],
        "api_port": ports[f"{name} api"],
    }


def _miner_config(
    name: str, folder: Path, hotkey_file: Path, ports: Mapping[str, int], slots: int
) -> dict[str, Any]:
    return {
        **_chain(ports),
        "hotkey_file": str(hotkey_file),
        "database_url": f"sqlite:///{folder}/{name}.sqlite3",
        "data_dir": str(folder / name),
        "host": "127.0.0.1",
        "port": ports[name],
        "executor_port": ports[f"{name} executors"],
        "operator_port": ports[f"{name} operators"],
        "axon_ip": "127.0.0.1",
        "slots": {"always_on.test": slots},
        "executor_env": {"HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true"},
    }


def _devchain(folder: Path, plan: EmbeddedPlan, ports: Mapping[str, int]) -> list[str]:
    options = {"--journal": folder / "devchain.jsonl", "--port": ports["devchain"], "--netuid": NETUID}
    options |= plan.chain
    return ["devchain", "serve", *(str(word) for option in options.items() for word in option)]


def _agent(name: str, folder: Path, plan: EmbeddedPlan) -> list[str]:
    words = [kind_of(name), "serve", "--config", str(folder / f"{name}.toml")]
    return [*words, "--devchain-beacon"] if plan.has_beacon and name in plan.validators else words


def _populate(port: int, plan: EmbeddedPlan, hotkeys: Mapping[str, Hotkey]) -> None:
    """Register validators and miners once the chain answers; each validator has a coldkey of its own."""
    url = f"http://127.0.0.1:{port}"
    owners = {name: name for name in plan.validators}
    owners |= {name: plan.coldkeys.get(name, plan.miners[0]) for name in plan.miners}
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            for name, owner in owners.items():
                asyncio.run(call(url, "dev_register", [NETUID, hotkeys[name], hotkeys[owner]]))
            for name in plan.validators:
                stake_rao = plan.stake_tao.get(name, _STAKE_TAO) * RAO
                asyncio.run(call(url, "dev_setStake", [NETUID, hotkeys[name], stake_rao]))
        except DevchainRefused as error:
            if time.monotonic() > deadline:
                raise EmbeddedFailed(f"The devchain is not ready: {error}") from error
            time.sleep(0.1)
        else:
            return


def _end_all(processes: "Mapping[str, subprocess.Popen[bytes]]") -> None:
    """Those that talk to others first, so that nobody waits for a peer that is gone."""
    for name in reversed(list(processes)):
        end_agent(processes[name])


def restart_agent(name: str, horde: EmbeddedHorde) -> None:
    """Start an agent that was killed, from its settings, and wait until it is ready."""
    horde.processes[name] = _started(name, horde.folder, _agent(name, horde.folder, horde.plan))
    _wait_ready(name, horde.operators[name], horde.processes[name], horde.folder)


def _started(
    name: str, folder: Path, words: list[str], python_path: Path | None = None
) -> "subprocess.Popen[bytes]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HORDE_")}
    env = {
        **kept,
        "BITTENSOR_RUNTIME_CACHE_DIR": str(folder / "sdk"),
        "BTCLI_TOKEN_SYMBOLS_CACHE": str(folder / "sdk"),
    }
    if python_path is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), env.get("PYTHONPATH")]))
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "horde_agents", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
        )


def end_agent(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL for one that does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(name: str, address: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while (why := _why_not_ready(address)) is not None:
        if process.poll() is not None:
            raise EmbeddedFailed(
                f"The {name} ended with {process.returncode}; its log is {folder / name}.log"
            )
        if time.monotonic() > deadline:
            raise EmbeddedFailed(
                f"The {name} is not ready after {_READY_S:.0f} s: {why}; see {folder / name}.log"
            )
        time.sleep(0.05)


def _why_not_ready(address: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as reply:
            reply.read()
    except urllib.error.HTTPError as error:
        return json.dumps(json.loads(error.read())["wrong"])
    except OSError as error:
        return str(error)
    return None


def _horde(*words: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "horde_agents", *words], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise EmbeddedFailed(f"`horde {' '.join(words)}` failed: {result.stderr.strip()[-300:]}")


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write an agent's settings file."""
    path.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in config.items()))


def _toml(value: Any) -> str:  # noqa: ANN401  (strings, numbers, lists and tables of them)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
