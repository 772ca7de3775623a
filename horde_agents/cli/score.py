"""``horde score …``: how a cycle's weights came about, and whether they come out the same again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.cli.agents import Config, Json
from horde_agents.jobs.classes import add_classes
from horde_agents.scoring.canonical import NotCanonical, canonical_json, read_canonical
from horde_agents.scoring.explain import explained, overview
from horde_agents.scoring.inputs import Inputs
from horde_agents.scoring.result import MinerScore, Result
from horde_agents.scoring.weights import score

app = typer.Typer(help="Scores of past cycles: explain, replay, export.", no_args_is_help=True)

T = TypeVar("T")
CycleNumber = Annotated[int | None, typer.Option("--cycle", help="The cycle's number; none: the newest.")]
#: Exit code of a replay that does not come out the same.
_DIFFERS: Final = 1
_FILE_KEYS: Final = {"inputs", "result"}


class ScoreMissing(Exception):
    """The score, cycle, miner or file that was asked for is not there; the text says what is."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Both texts of a scored cycle."""

    inputs_json: str
    result_json: str


@app.command("explain")
def explain(
    who: Annotated[str, typer.Argument(metavar="UID", help="UID or hotkey; `all` lists everyone.")],
    cycle: CycleNumber = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show how each point of a miner came about, what capped it, and the weight it gave."""
    result = Result.from_json(_stored(config, cycle).result_json)
    if who == "all":
        typer.echo(result.to_json() if as_json else "\n".join(overview(result)))
        return
    miner = _miner(result, who)
    if as_json:
        wanted = next(
            row for row in read_canonical(result.to_json())["miners"] if row["hotkey"] == miner.hotkey
        )
        typer.echo(canonical_json(wanted))
    else:
        typer.echo("\n".join(explained(result, miner)))


@app.command("replay")
def replay(
    cycle: CycleNumber = None,
    config: Config = None,
    file: Annotated[Path | None, typer.Option(help="An exported score instead of the database's.")] = None,
    log: Annotated[
        bool, typer.Option("--log", help="Also check the log's hash chain and sum its verdicts up again.")
    ] = False,
) -> None:
    """Score again from the stored inputs; exit code 1 unless every byte is the same."""
    stored = _from_file(file) if file else _stored(config, cycle)
    inputs = Inputs.from_json(stored.inputs_json)
    wrong = [] if inputs.to_json() == stored.inputs_json else ["the inputs are not in their canonical form"]
    if score(inputs).to_json() != stored.result_json:
        wrong.append("the result is another")
    if log and not file:
        wrong += _read(config, lambda connection: _log_faults(connection, inputs))
    if wrong:
        typer.echo(f"Cycle {inputs.cycle} does not come out the same: {'; '.join(wrong)}.", err=True)
        raise typer.Exit(_DIFFERS)
    typer.echo(f"Cycle {inputs.cycle} comes out the same, byte for byte.")


@app.command("export")
def export(
    cycle: CycleNumber = None,
    config: Config = None,
    out: Annotated[Path | None, typer.Option(help="File to write; none: standard output.")] = None,
) -> None:
    """Print inputs and result of a cycle as one JSON, for `horde score replay --file`."""
    stored = _stored(config, cycle)
    document = {"inputs": json.loads(stored.inputs_json), "result": json.loads(stored.result_json)}
    text = canonical_json(document)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n")


def _miner(result: Result, who: str) -> MinerScore:
    uid = int(who) if who.isascii() and who.isdigit() else -1
    for miner in result.miners:
        if who == miner.hotkey or uid == miner.uid:
            return miner
    raise ScoreMissing(
        f"{who!r:.80} did no work in cycle {result.cycle}; `horde score explain all` lists those that did."
    )


def _stored(config: Path | None, cycle: int | None) -> _Stored:
    return _read(config, lambda connection: _load(connection, cycle))


async def _load(connection: AsyncConnection, cycle: int | None) -> _Stored:
    from horde_agents.store import cycle_scores

    if cycle is None:
        found = await cycle_scores.newest(connection)
    else:
        found = await cycle_scores.get(connection, cycle)
    if found is None:
        if not (there := await cycle_scores.numbers(connection, 10)):
            raise ScoreMissing("No cycle has been scored yet; the first is when it is over.")
        newest = ", ".join(str(number) for number in there)
        raise ScoreMissing(f"Cycle {cycle} has not been scored; the newest that have: {newest}.")
    return _Stored(found.inputs_json, found.result_json)


async def _log_faults(connection: AsyncConnection, inputs: Inputs) -> list[str]:
    from horde_agents.agents.validator.scoring_round import work_of
    from horde_agents.store import verdicts

    check = await verdicts.verify_chain(connection)
    if check.broken_id is not None:
        return [f"row {check.broken_id} of the verdict log does not fit its hash"]
    end = await verdicts.end_named(connection, inputs.verdicts_sha256)
    if end is None:
        return ["the verdict log no longer has the row that the inputs end with"]
    same = await work_of(connection, inputs.cycle, end, inputs.point_us) == inputs.work
    return [] if same else ["the verdict log sums up to other work"]


def _from_file(file: Path) -> _Stored:
    try:
        document = read_canonical(file.read_text())
    except (OSError, UnicodeDecodeError, NotCanonical) as error:
        raise ScoreMissing(f"{file} is no exported score: {error!s:.200}.") from error
    if not isinstance(document, dict) or set(document) != _FILE_KEYS:
        raise ScoreMissing(f"{file} is no exported score: it must have inputs and result, nothing else.")
    return _Stored(canonical_json(document["inputs"]), canonical_json(document["result"]))


def _read(config: Path | None, unit: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    from horde_agents.agents.validator.settings import ValidatorSettings
    from horde_agents.runtime.settings import load_settings
    from horde_agents.store.engine import open_store

    settings = load_settings(ValidatorSettings, "validator", config)
    add_classes(settings.class_file)

    async def read() -> T:
        async with open_store(settings.database_url) as store, store.reading() as connection:
            return await unit(connection)

    return asyncio.run(read())
