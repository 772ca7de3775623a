"""Agents as they can be asked: their operators' listeners, miners' public ones, hotkey files."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp

from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.cli.checks.reach import reach_finding
from horde_agents.protocol.signing import KeypairSigner, WalletUnreadable

_ANSWER_S: Final = 3.0


def hotkey_finding(path: Path) -> tuple[Finding, KeypairSigner | None]:
    """Whether the file holds a hotkey that others cannot read, and that hotkey."""
    try:
        signer = KeypairSigner.from_hotkey_file(path)
    except WalletUnreadable as error:
        return wrong("hotkey", str(error)), None
    if path.stat().st_mode & 0o077:
        return wrong("hotkey", f"{path} is readable by others; run: chmod 600 {path}"), signer
    return fine("hotkey", signer.hotkey), signer


async def agent_finding(address: str) -> Finding:
    """What an agent says of itself at its operators' listener."""
    status, text = await _get(f"http://{address}/readyz")
    if status == 200:
        return fine(f"agent {address}", "ready")
    if status == 503:
        faults = json.loads(text)["wrong"]
        return wrong(f"agent {address}", "; ".join(f"{name}: {why}" for name, why in faults.items()))
    return wrong(f"agent {address}", f"{text}; is it running, and is this its operator port?")


async def miner_finding(address: str) -> Finding:
    """Whether a miner's public listener is reachable from here, also as the original's check does it."""
    return await asyncio.to_thread(reach_finding, address)


async def executor_findings(operator: str) -> AsyncIterator[Finding]:
    """Executors that the miner has turned away lately, and why."""
    status, text = await _get(f"http://{operator}/executors")
    for refused in json.loads(text)["refused"] if status == 200 else ():
        who = f"executor {refused['slot_id'] or 'of an unknown slot'} at {refused['peer']}"
        yield wrong("refused", f"{who}, {refused['ago_s']:.0f} s ago: {refused['why']}")


async def _get(url: str) -> tuple[int, str]:
    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as reply:
            return reply.status, await reply.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return 0, f"no answer ({type(error).__name__})"
