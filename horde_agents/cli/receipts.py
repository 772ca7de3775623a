"""``horde receipts …``: payment evidence out of the validator's database, and its verification offline."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from horde_agents.cli.agents import Config

app = typer.Typer(help="Receipts as payment evidence: export, verify offline.", no_args_is_help=True)
#: Exit code of a bundle with a line that does not hold.
_WRONG: Final = 1
_BACK: Final = timedelta(days=3)


class EvidenceMissing(Exception):
    """What was asked for is not there, or a file cannot be used; the text says which and what to do."""


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
    cycle: Annotated[
        int | None, typer.Option("--cycle", help="Only attempts that ended in this cycle.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Only receipts stored since then, UTC; none: 3 days.")
    ] = None,
    config: Config = None,
) -> None:
    """Write this validator's receipts with both signatures into a file that anybody can verify."""
    if file.exists():
        raise EvidenceMissing(f"{file} exists; name another file")
    begins = since.replace(tzinfo=since.tzinfo or UTC) if since else datetime.now(UTC) - _BACK
    lines = asyncio.run(_exported(config, begins, cycle))
    if len(lines) == 1:
        raise EvidenceMissing("no receipt with both signatures is stored; name an earlier --since")
    try:
        with file.open("x", encoding="ascii") as out:
            out.writelines(lines)
    except OSError as error:
        raise EvidenceMissing(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(f"{len(lines) - 1} receipts written to {file}")


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A file made by `horde receipts export`.")],
    is_quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing of receipts that hold.")] = False,
) -> None:
    """Check every receipt of a file: its text and both signatures. Needs no database and no chain."""
    from horde_agents.protocol.signing import from_hex
    from horde_agents.protocol.signing import verify as is_signed
    from horde_agents.receipts.evidence import check_header, verdicts

    lines = _lines(file)
    check_header(next(lines, b""))
    held = wrong = 0
    for verdict in verdicts(lines, lambda key, text, signature: is_signed(key, text, from_hex(signature))):
        if verdict.why:
            wrong += 1
            typer.echo(f"line {verdict.number}: WRONG  {verdict.what}: {verdict.why}")
        else:
            held += 1
            if not is_quiet:
                typer.echo(f"line {verdict.number}: holds  {verdict.what}")
    typer.echo(f"{held} receipts hold, {wrong} do not")
    if wrong or not held:
        raise typer.Exit(_WRONG)


async def _exported(config: Path | None, since: datetime, cycle: int | None) -> list[str]:
    from horde_agents.agents.validator.settings import ValidatorSettings
    from horde_agents.protocol.signing import KeypairSigner
    from horde_agents.receipts.evidence import bundle_lines
    from horde_agents.runtime.settings import load_settings
    from horde_agents.store import progress, receipts
    from horde_agents.store.engine import open_store

    settings = load_settings(ValidatorSettings, "validator", config)
    own = KeypairSigner.from_hotkey_file(settings.hotkey_file).hotkey
    async with open_store(settings.database_url) as store, store.reading() as connection:
        signed = await receipts.signed_by_both(connection, own, since, cycle)
        proofs = await progress.signed_by_both(connection, own, since, cycle)
    about = {"validator_hotkey": own, "cycle": cycle, "since": since.isoformat()}
    return list(bundle_lines((*signed, *proofs), about))


def _lines(file: Path) -> Iterator[bytes]:
    from horde_agents.receipts.evidence import LINE_BYTES

    try:
        with file.open("rb") as lines:
            while line := lines.readline(LINE_BYTES):
                yield line
    except OSError as error:
        raise EvidenceMissing(f"{file} cannot be read: {error.strerror}") from error
