"""``horde config …``: sign the knobs, check them as a validator would, show what is in force."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from horde_agents.cli.agents import Config
from horde_agents.jobs.classes import add_classes
from horde_agents.protocol.signed_configuration import (
    ConfigurationRefused,
    read_signed,
    sign_configuration,
)
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.scoring.canonical import canonical_json

if TYPE_CHECKING:
    from horde_agents.agents.validator.configuration import LiveConfiguration
    from horde_agents.agents.validator.settings import ValidatorSettings

app = typer.Typer(help="The dynamic configuration: sign, check, show.", no_args_is_help=True)

T = TypeVar("T")
_UNSIGNED: Final = "Knobs as JSON, `version` included, or a signed document to sign anew."


@app.command("sign")
def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_UNSIGNED)],
    hotkey_file: Annotated[Path, typer.Option(help="Unencrypted hotkey file of the signatory.")],
    class_file: Annotated[
        Path | None, typer.Option(help="TOML file of executor classes besides those that come with Horde.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; none: standard output.")] = None,
) -> None:
    """Check the knobs and sign them; validators that name this hotkey apply a higher version."""
    add_classes(class_file)
    text = sign_configuration(_bytes(file), KeypairSigner.from_hotkey_file(hotkey_file))
    if out is None:
        typer.echo(text)
        return
    # a validator that polls the file sees the old document or the new one, nothing between
    beside = out.with_name(out.name + ".new")
    beside.write_text(text + "\n")
    beside.replace(out)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A signed document.")], config: Config = None
) -> None:
    """Say whether a validator with these settings would apply the document, and what it would change."""
    from horde_agents.agents.validator.configuration import changes

    async def decide(live: "LiveConfiguration") -> tuple[int, list[str]]:
        signed = read_signed(_bytes(file), live.source.signers)
        await live.refuse_old(signed)
        return signed.configuration.version, changes(live.now, signed.configuration)

    version, changed = _with_live(config, decide)
    typer.echo(f"Version {version} would apply; it changes {', '.join(changed) or 'nothing'}.")


@app.command("show")
def show(config: Config = None) -> None:
    """Print the knobs that this validator has in force, defaults included, as JSON."""

    async def read(live: "LiveConfiguration") -> str:
        return canonical_json(live.now.model_dump(mode="json"))

    typer.echo(_with_live(config, read))


def _with_live(config: Path | None, work: Callable[["LiveConfiguration"], Awaitable[T]]) -> T:
    from horde_agents.agents.validator.settings import ValidatorSettings
    from horde_agents.runtime.settings import load_settings

    settings = load_settings(ValidatorSettings, "validator", config)
    add_classes(settings.class_file)
    return asyncio.run(_opened(settings, work))


async def _opened(settings: "ValidatorSettings", work: Callable[["LiveConfiguration"], Awaitable[T]]) -> T:
    import aiohttp

    from horde_agents.agents.validator.configuration import LiveConfiguration, source_of
    from horde_agents.agents.validator.metrics import Metrics
    from horde_agents.store.engine import open_store

    async with open_store(settings.database_url) as store, aiohttp.ClientSession() as http:
        live = LiveConfiguration(source_of(settings), store, http, Metrics())
        await live.load()
        return await work(live)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationRefused(f"{file} cannot be read: {error.strerror}.") from error
