"""``horde miner recover``: a miner that lost its database gets its receipts back from its validators."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from horde_agents.cli.spans import span
from horde_agents.protocol.signing import Hotkey, is_hotkey
from horde_agents.runtime import clock
from horde_agents.runtime.settings import load_settings

if TYPE_CHECKING:
    from horde_agents.agents.miner.recovery import Publisher, Recovered
    from horde_agents.agents.miner.settings import MinerSettings

#: Exit code when a validator's pages could not be read to their end.
_PARTLY: Final = 1
#: A reader believes no receipt that is dated further back.
_MOST_BACK: Final = timedelta(days=2)
_SOURCE: Final = re.compile(r"(?P<hotkey>[^=]+)=(?P<url>https?://[^/\s]+)/?")


def recover(
    validators: Annotated[
        list[str], typer.Argument(metavar="HOTKEY=URL...", help="Validators, and where their pages are.")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings file (TOML); the environment goes before it."),
    ] = None,
    since: Annotated[
        timedelta, typer.Option(parser=span, metavar="SPAN", help="How far back: 30m, 24h, at most 2d.")
    ] = "2d",  # type: ignore[assignment]  # typer gives the parser its default as text
) -> None:
    """Read the pages of validators, and countersign, store and publish again what they have of this miner."""
    from horde_agents.agents.miner.settings import MinerSettings

    publishers = [_publisher(text) for text in validators]
    settings = load_settings(MinerSettings, "miner", config)
    if settings.trusted_by:
        raise typer.BadParameter("a trusted miner keeps no receipts: there is nothing to recover")
    if not asyncio.run(_all_recovered(settings, publishers, min(since, _MOST_BACK))):
        raise typer.Exit(_PARTLY)


def _publisher(text: str) -> "Publisher":
    from horde_agents.agents.miner.recovery import Publisher

    found = _SOURCE.fullmatch(text)
    if found is None or not is_hotkey(found["hotkey"]):
        raise typer.BadParameter(f"{text!r} is not HOTKEY=URL, such as 5F…=http://203.0.113.7:8090")
    return Publisher(Hotkey(found["hotkey"]), found["url"])


async def _all_recovered(settings: "MinerSettings", publishers: list["Publisher"], back: timedelta) -> bool:
    """False when the pages of one could not be read to their end; the others are read nevertheless."""
    import aiohttp

    from horde_agents.agents.miner.recovery import NotRecovered, pages_since, recover
    from horde_agents.protocol.signing import KeypairSigner
    from horde_agents.store.engine import open_store

    signer = KeypairSigner.from_hotkey_file(settings.hotkey_file)
    pages, is_whole = pages_since(clock.now() - back, clock.now()), True
    async with (
        open_store(settings.database_url) as store,
        aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        for publisher in publishers:
            with _bar(publisher.hotkey, len(pages)) as bar:
                try:
                    found = await recover(store, signer, http, publisher, pages, lambda _page: bar())
                except NotRecovered as error:
                    typer.echo(f"{publisher.hotkey}: {error}; type the same again later", err=True)
                    is_whole = False
                    continue
            typer.echo(f"{publisher.hotkey}: {_told(found)}")
    return is_whole


def _told(found: "Recovered") -> str:
    refused = ", ".join(f"{count} {why}" for why, count in found.refused.most_common())
    told = f"{found.stored} receipts recovered, {found.known} were known"
    return f"{told}; not believed: {refused}" if refused else told


@contextmanager
def _bar(hotkey: str, pages: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"pages of {hotkey[:8]}", total=pages)
        yield lambda: progress.advance(task)
