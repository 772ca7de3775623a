"""A whole horde on this machine: chain and agents as child processes, their files in one folder."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from horde_agents.cli.devchain import DevchainRefused, call
from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.protocol.signing import Hotkey

NETUID: Final = 12
_AGENTS: Final = ("facilitator", "validator", "miner")
_LISTENERS: Final = (
    "devchain",
    "facilitator",
    "miner",
    "executors",
    *(f"{name} operators" for name in _AGENTS),
)
_STAKE_RAO: Final = 100_000 * 10**9
_READY_S: Final = 60.0
_END_S: Final = 45.0


class EmbeddedFailed(Exception):
    """An agent did not come up or ended by itself; the text names its log."""


@dataclass(frozen=True, slots=True)
class EmbeddedHorde:
    """A running horde: where users, operators and readers of receipts find it."""

    folder: Path
    facilitator: str
    miner: str
    chain: str
    operators: Mapping[str, str]
    user_file: Path
    user: Hotkey
    validator: Hotkey
    miner_hotkey: Hotkey
    processes: "dict[str, subprocess.Popen[bytes]]"


@contextmanager
def embedded_horde(
    folder: Path,
    slots: int = 1,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    python_path: Path | None = None,
) -> Iterator[EmbeddedHorde]:
    """Start everything below ``folder``, wait until it is ready, and end all of it with the block.

    ``overrides`` are settings by agent that go before those of the demo; they may name modules of
    ``python_path``.

    Raises:
        EmbeddedFailed: something did not become ready.
    """
    keys = {name: folder / "keys" / name for name in ("user", "validator", "miner")}
    hotkeys = {name: create_hotkey_file(path) for name, path in keys.items()}
    ports = dict(zip(_LISTENERS, _free_ports(len(_LISTENERS)), strict=True))
    for name, config in _configs(folder, keys, ports, slots).items():
        _write_config(folder / f"{name}.toml", {**config, **(overrides or {}).get(name, {})})
    with ExitStack() as stack:
        processes = {"devchain": _started("devchain", folder, _devchain(folder, ports))}
        stack.callback(_end_all, processes)
        _populate(ports["devchain"], hotkeys)
        for name in ("facilitator", "validator"):
            _horde(name, "allow", hotkeys["user"], "--config", str(folder / f"{name}.toml"))
        # the miner before the validator, whose first reading of the chain then has its axon
        operators = {name: f"127.0.0.1:{ports[f'{name} operators']}" for name in _AGENTS}
        for group in (("facilitator", "miner"), ("validator",)):
            for name in group:
                processes[name] = _started(name, folder, _agent(name, folder), python_path)
            for name in group:
                _wait_ready(name, operators[name], processes[name], folder)
        yield EmbeddedHorde(
            folder,
            f"http://127.0.0.1:{ports['facilitator']}",
            f"http://127.0.0.1:{ports['miner']}",
            f"ws://127.0.0.1:{ports['devchain']}",
            operators,
            keys["user"],
            hotkeys["user"],
            hotkeys["validator"],
            hotkeys["miner"],
            processes,
        )


def _configs(
    folder: Path, keys: Mapping[str, Path], ports: Mapping[str, int], slots: int
) -> dict[str, dict[str, Any]]:
    chain = {"chain_url": f"ws://127.0.0.1:{ports['devchain']}", "netuid": NETUID}
    return {
        "facilitator": {
            **chain,
            "database_url": f"sqlite:///{folder}/facilitator.sqlite3",
            "host": "127.0.0.1",
            "port": ports["facilitator"],
            "operator_port": ports["facilitator operators"],
            "chain_poll_s": 5.0,
        },
        "miner": {
            **chain,
            "hotkey_file": str(keys["miner"]),
            "database_url": f"sqlite:///{folder}/miner.sqlite3",
            "data_dir": str(folder / "miner"),
            "host": "127.0.0.1",
            "port": ports["miner"],
            "executor_port": ports["executors"],
            "operator_port": ports["miner operators"],
            "chain_poll_s": 5.0,
            "axon_ip": "127.0.0.1",
            "slots": {"always_on.test": slots},
            "executor_env": {"HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true"},
        },
        "validator": {
            **chain,
            "hotkey_file": str(keys["validator"]),
            "database_url": f"sqlite:///{folder}/validator.sqlite3",
            "facilitator_urls": [f"ws://127.0.0.1:{ports['facilitator']}/ws/v0/"],
            "operator_port": ports["validator operators"],
            "chain_poll_s": 5.0,
        },
    }


def _devchain(folder: Path, ports: Mapping[str, int]) -> list[str]:
    options = {"--journal": folder / "devchain.jsonl", "--port": ports["devchain"], "--netuid": NETUID}
    return ["devchain", "serve", *(str(word) for option in options.items() for word in option)]


def _agent(name: str, folder: Path) -> list[str]:
    return [name, "serve", "--config", str(folder / f"{name}.toml")]


def _populate(port: int, hotkeys: Mapping[str, Hotkey]) -> None:
    """Register validator and miner, each its own coldkey, once the chain answers."""
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            for name in ("validator", "miner"):
                asyncio.run(call(url, "dev_register", [NETUID, hotkeys[name], hotkeys[name]]))
            asyncio.run(call(url, "dev_setStake", [NETUID, hotkeys["validator"], _STAKE_RAO]))
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
    horde.processes[name] = _started(name, horde.folder, _agent(name, horde.folder))
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


def _write_config(path: Path, config: Mapping[str, Any]) -> None:
    path.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in config.items()))


def _toml(value: Any) -> str:  # noqa: ANN401  (strings, numbers, lists and tables of them)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
