"""``horde pool …``: how many holders each class has and shall have."""

import json
from typing import Annotated

import typer

from horde_agents.cli.placement_picture import pool_json, pool_lines
from horde_agents.cli.shared_store import Config, Json, SharedHorde, with_horde
from horde_agents.placement import orders
from horde_agents.placement.records import HordeState

app = typer.Typer(help="How many holders each executor class has.", no_args_is_help=True)

ExecutorClass = Annotated[str, typer.Argument(metavar="CLASS", help="Executor class.")]


@app.command("show")
def show(config: Config = None, as_json: Json = False) -> None:
    """Holders by class: wanted, present, waiting, and why slots are vacant."""

    async def read(horde: SharedHorde) -> HordeState:
        return await horde.state()

    state = with_horde(config, read)
    if as_json:
        typer.echo(json.dumps(pool_json(state)))
        return
    for line in pool_lines(state):
        typer.echo(line)


@app.command("drain")
def drain(executor_class: ExecutorClass, config: Config = None) -> None:
    """Have no holders of a class; those with a job end after it."""
    done = _wish(config, executor_class, 0)
    typer.echo(f"{executor_class} shall have no holders{'' if done else ', as before'}.")


@app.command("refill")
def refill(
    executor_class: ExecutorClass,
    config: Config = None,
    holders: Annotated[
        int | None, typer.Option(min=0, max=100_000, help="So many; else as many as configured.")
    ] = None,
) -> None:
    """Have holders of a class again: as configured, or so many."""
    done = _wish(config, executor_class, holders)
    count = "as many holders as configured" if holders is None else f"{holders} holders"
    typer.echo(f"{executor_class} shall have {count}{'' if done else ', as before'}.")


def _wish(config: Config, executor_class: str, holders: int | None) -> bool:
    return with_horde(
        config,
        lambda horde: horde.order(lambda state: orders.pool_wish(state, horde.keys, executor_class, holders)),
    )
