"""A whole horde on this machine: chain and agents as child processes, their files in one folder."""

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

from horde_agents.clients.wallets import create_hotkey_file
from horde_agents.protocol.signing import Hotkey

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
    operators: Mapping[str, str]
    user_file: Path
    user: Hotkey
    validator: Hotkey
    miner_hotkey: Hotkey
    processes: "Mapping[str, subprocess.Popen[bytes]]"


@contextmanager
def embedded_horde(folder: Path, slots: int = 1) -> Iterator[EmbeddedHorde]:
    """Start everything below ``folder``, wait until it is ready, and end all of it with the block.

    Raises:
        EmbeddedFailed: something did not become ready.
    """
    keys = {name: folder / "keys" / name for name in ("user", "validator", "miner")}
    hotkeys = {name: create_hotkey_file(path) for name, path in keys.items()}
    ports = dict(
        zip(("facilitator", "miner", "executors", "f-op", "v-op", "m-op"), _free_ports(6), strict=True)
    )
    facilitator = f"127.0.0.1:{ports['facilitator']}"
    configs: dict[str, dict[str, Any]] = {
        "facilitator": {
            "database_url": f"sqlite:///{folder}/facilitator.sqlite3",
            "host": "127.0.0.1",
            "port": ports["facilitator"],
            "operator_port": ports["f-op"],
            "allowed_validators": [hotkeys["validator"]],
            "log_level": "info",
        },
        "miner": {
            "hotkey_file": str(keys["miner"]),
            "database_url": f"sqlite:///{folder}/miner.sqlite3",
            "data_dir": str(folder / "miner"),
            "host": "127.0.0.1",
            "port": ports["miner"],
            "executor_port": ports["executors"],
            "operator_port": ports["m-op"],
            "allowed_validators": [hotkeys["validator"]],
            "slots": {"always_on.test": slots},
            "executor_env": {"HORDE_EXECUTOR_ALLOW_PRIVATE_ADDRESSES": "true"},
        },
        "validator": {
            "hotkey_file": str(keys["validator"]),
            "database_url": f"sqlite:///{folder}/validator.sqlite3",
            "facilitator_urls": [f"ws://{facilitator}/ws/v0/"],
            "operator_port": ports["v-op"],
            "debug_miners": [{"hotkey": hotkeys["miner"], "host": "127.0.0.1", "port": ports["miner"]}],
        },
    }
    for name, config in configs.items():
        _write_config(folder / f"{name}.toml", config)
    for name in ("facilitator", "validator"):
        _horde(name, "allow", hotkeys["user"], "--config", str(folder / f"{name}.toml"))
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_agent(name, folder)) for name in configs}
        operators = {"facilitator": "f-op", "validator": "v-op", "miner": "m-op"}
        addresses = {name: f"127.0.0.1:{ports[port]}" for name, port in operators.items()}
        for name, address in addresses.items():
            _wait_ready(name, address, processes[name], folder)
        yield EmbeddedHorde(
            folder,
            f"http://{facilitator}",
            f"http://127.0.0.1:{ports['miner']}",
            addresses,
            keys["user"],
            hotkeys["user"],
            hotkeys["validator"],
            hotkeys["miner"],
            processes,
        )


@contextmanager
def _agent(name: str, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    process = start_agent(name, folder)
    try:
        yield process
    finally:
        end_agent(process)


def start_agent(name: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start one agent from its settings in ``folder``; its log grows there."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "horde_agents", name, "serve", "--config", str(folder / f"{name}.toml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: value for name, value in os.environ.items() if not name.startswith("HORDE_")},
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
