"""``horde validator show …``: what a validator's HTTP endpoints tell, as tables or as JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from horde_agents.cli import validator_tables as tables
from horde_agents.cli.verdict_chain import why_not_linked
from horde_agents.clients.validator_api import ValidatorApi, validator_api
from horde_agents.protocol.signing import KeypairSigner, is_hotkey
from horde_agents.runtime.settings import load_settings

app = typer.Typer(help="What a validator tells of itself over HTTP.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Last = Annotated[int, typer.Option(min=1, max=10_000, help="Rows, the newest.")]
Cycle = Annotated[int | None, typer.Option(min=0, help="That cycle alone.")]
_PAGE: Final = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Whom:
    """Which validator is asked, and who asks."""

    url: str
    signer: KeypairSigner | None
    validator_hotkey: str


@app.callback()
def whom(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The validator's settings file: asks it as its own.")
    ] = None,
    url: Annotated[str, typer.Option(help="Another validator's address, e.g. http://host:9112.")] = "",
    hotkey_file: Annotated[Path | None, typer.Option(help="Key to sign with; needed with --url.")] = None,
    validator_hotkey: Annotated[
        str, typer.Option("--validator", help="Whose API it has to be; empty: whose it says it is.")
    ] = "",
) -> None:
    """Ask the validator of a settings file, or one at an address."""
    if validator_hotkey and not is_hotkey(validator_hotkey):
        raise typer.BadParameter(f"{validator_hotkey!r} is no ss58 address")
    if url:
        signer = KeypairSigner.from_hotkey_file(hotkey_file) if hotkey_file else None
        context.obj = _Whom(url, signer, validator_hotkey)
        return
    context.obj = _own(config, hotkey_file, validator_hotkey)


@app.command("status")
def status(context: typer.Context, as_json: Json = False) -> None:
    """Where the validator stands: block, cycle, seat, links, weights, and what is wrong."""
    _print(context, as_json, tables.status, lambda api: api.get("/api/v1/status"))


@app.command("batches")
def batches(
    context: typer.Context,
    uuid: Annotated[str, typer.Argument(help="One batch, with its jobs.")] = "",
    cycle: Cycle = None,
    last: Last = 20,
    as_json: Json = False,
) -> None:
    """Synthetic batches that have fired; one of them with its jobs."""
    if uuid:
        path = f"/api/v1/batches/{uuid}"
        _print(context, as_json, tables.batch, lambda api: _whole(api, path, {}, "jobs"))
        return
    query = {"cycle": cycle}
    _print(context, as_json, tables.batches, lambda api: _newest(api, "/api/v1/batches", query, last))


@app.command("scores")
def scores(
    context: typer.Context,
    uid: Annotated[int | None, typer.Argument(min=0, max=65_535, help="One UID's explanation.")] = None,
    cycle: Cycle = None,
    as_json: Json = False,
) -> None:
    """What a cycle was scored, else the newest one; or how one UID's weight came about."""
    path = f"/api/v1/scores/{'latest' if cycle is None else cycle}"
    if uid is None:
        _print(context, as_json, tables.score, lambda api: api.get(path))
    elif as_json:
        _print(context, as_json, tables.score, lambda api: api.get(f"{path}/{uid}"))
    else:
        _print(context, as_json, lambda told: tables.explanation(told, uid), lambda api: api.get(path))


@app.command("verdicts")
def verdicts(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Begin after this number.")] = 0,
    cycle: Cycle = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows, the oldest first.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the hashes of the whole log; exit code 1 for a break.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What the validator's own jobs came to, as a log chained by hashes."""
    if verify:
        broken = asyncio.run(_asked(context, _broken_link))
        typer.echo(broken or "Every hash of the log fits.")
        raise typer.Exit(1 if broken else 0)
    query = {"cycle": cycle, "cursor": after}
    _print(context, as_json, tables.verdicts, lambda api: _newest(api, "/api/v1/verdicts", query, limit))


@app.command("shares")
def shares(context: typer.Context, cycle: Cycle = None, as_json: Json = False) -> None:
    """Every validator's share by stake, and what this one has used."""
    _print(context, as_json, tables.shares, lambda api: api.get("/api/v1/shares", {"cycle": cycle}))


@app.command("weights")
def weights(context: typer.Context, last: Last = 20, as_json: Json = False) -> None:
    """Weights by cycle, and how far they are on their way to the chain."""
    _print(context, as_json, tables.weights, lambda api: _newest(api, "/api/v1/weights", {}, last))


def _own(config: Path | None, hotkey_file: Path | None, validator_hotkey: str) -> _Whom:
    from horde_agents.agents.validator.settings import ValidatorSettings

    settings = load_settings(ValidatorSettings, "validator", config)
    if not settings.api_serves:
        raise typer.BadParameter("this validator serves no HTTP endpoints (setting api_serves)")
    signer = KeypairSigner.from_hotkey_file(hotkey_file or settings.hotkey_file)
    wanted = validator_hotkey or ("" if hotkey_file else signer.hotkey)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)  # noqa: S104
    return _Whom(f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}", signer, wanted)


def _print(
    context: typer.Context,
    as_json: bool,
    table: Callable[[dict[str, Any]], Sequence[str]],
    ask: Callable[[ValidatorApi], Awaitable[dict[str, Any]]],
) -> None:
    answer = asyncio.run(_asked(context, ask))
    typer.echo(json.dumps(answer) if as_json else "\n".join(table(answer)))


async def _asked(context: typer.Context, ask: Callable[[ValidatorApi], Awaitable[T]]) -> T:
    told: _Whom = context.obj
    async with validator_api(told.url, told.signer, told.validator_hotkey) as api:
        return await ask(api)


async def _broken_link(api: ValidatorApi) -> str:
    """Where the log of verdicts does not fit its hashes; empty where it does."""
    cursor: int | None = 0
    end = ""
    while cursor is not None:
        page = await api.get("/api/v1/verdicts", {"cursor": cursor, "limit": _PAGE})
        for row in page["items"]:
            if why := why_not_linked(row, end):
                return f"Verdict {row['number']} {why}."
            end = row["chain_sha256"]
        cursor = page["next_cursor"]
    return ""


async def _newest(api: ValidatorApi, path: str, query: dict[str, Any], most: int) -> dict[str, Any]:
    """The first ``most`` rows of a list, over as many pages as it takes."""
    first = await api.get(path, {**query, "limit": min(most, _PAGE)})
    items, cursor = list(first["items"]), first["next_cursor"]
    while cursor is not None and len(items) < most:
        page = await api.get(path, {**query, "cursor": cursor, "limit": min(most - len(items), _PAGE)})
        items, cursor = [*items, *page["items"]], page["next_cursor"]
    return {**first, "items": items, "next_cursor": cursor}


async def _whole(api: ValidatorApi, path: str, query: dict[str, Any], name: str) -> dict[str, Any]:
    """An answer with all pages of its list ``name``."""
    first = await api.get(path, {**query, "limit": _PAGE})
    rows, cursor = list(first[name]), first["next_cursor"]
    while cursor is not None:
        page = await api.get(path, {**query, "cursor": cursor, "limit": _PAGE})
        rows, cursor = [*rows, *page[name]], page["next_cursor"]
    return {**first, name: rows, "next_cursor": None}
