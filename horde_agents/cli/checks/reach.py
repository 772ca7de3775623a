"""A miner's public listener, as others reach it: the original's check, and what lies behind it."""

import http.client
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, wrong

_ANSWER_S: Final = 3.0
#: What validators read, and what the original's own check asks for.
_PATHS: Final = ("/", "/admin/login/")
_READ_BYTES: Final = 4096


def reach_finding(address: str) -> Finding:
    """Whether host:port answers from here with HTTP 200; blocks for seconds."""
    check = f"miner {address}"
    for path in _PATHS:
        status, text = _get(address, path)
        if status != 200:
            said = f"{path} answers {status}" if status else f"{path}: {text}"
            return wrong(check, f"{said}; open the port in the firewall and check the axon")
    _, version = _get(address, "/version")
    return fine(check, f"reachable, {version}")


def _get(address: str, path: str) -> tuple[int, str]:
    """Status 0 where nothing answers, and then what went wrong."""
    try:
        link = http.client.HTTPConnection(address, timeout=_ANSWER_S)
        try:
            link.request("GET", path)
            reply = link.getresponse()
            return reply.status, reply.read(_READ_BYTES).decode(errors="replace")
        finally:
            link.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, f"no answer ({type(error).__name__})"
