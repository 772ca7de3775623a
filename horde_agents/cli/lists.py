"""Who may submit: what ``allow``, ``deny`` and ``list`` of facilitator and validator do to their store.

The store is imported where it is used: most commands need none, and it takes longest to import.
"""

import asyncio
import json
from typing import Any, Final

import typer

from horde_agents.protocol.signing import is_hotkey
from horde_agents.runtime import clock

_SUBMIT: Final = "submit"


def put(database_url: str, hotkey: str, *, allowed: bool, note: str) -> None:
    """Allow or deny a hotkey."""
    from horde_agents.store import access
    from horde_agents.store.engine import open_store

    if not is_hotkey(hotkey):
        raise typer.BadParameter(f"{hotkey!r} is no ss58 address")
    entry = access.Entry(hotkey, allowed, note)

    async def write() -> None:
        async with open_store(database_url) as store:
            await store.writer.run(lambda connection: access.put(connection, _SUBMIT, entry))

    asyncio.run(write())
    typer.echo(f"{hotkey} is {'allowed' if allowed else 'denied'}.")


def show(database_url: str, *, as_json: bool) -> None:
    """Print the list."""
    from horde_agents.store import access
    from horde_agents.store.engine import open_store

    async def read() -> list[access.Entry]:
        async with open_store(database_url) as store, store.reading() as connection:
            return list((await access.entries(connection, _SUBMIT, clock.now())).values())

    found = asyncio.run(read())
    if as_json:
        rows: list[dict[str, Any]] = [
            {"hotkey": entry.hotkey, "allowed": entry.allowed, "note": entry.note} for entry in found
        ]
        typer.echo(json.dumps(rows))
        return
    for entry in found:
        typer.echo(f"{entry.hotkey}  {'allowed' if entry.allowed else 'denied '}  {entry.note}".rstrip())
    if not found:
        typer.echo("The list is empty.")
