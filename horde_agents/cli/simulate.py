"""``horde simulate``: what honest work and each known cheat earn, seeded, as a table and a picture."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from horde_agents.cli.agents import Json


def simulate(
    cycles: Annotated[int, typer.Option(min=2, max=20_000, help="Cycles to play; ten are a day.")] = 140,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 12,
    strategy: Annotated[list[str] | None, typer.Option(help="One strategy, or several; none: all.")] = None,
    coalition: Annotated[float, typer.Option(min=0, max=0.499, help="Its part of all stake.")] = 0.3,
    proposed: Annotated[bool, typer.Option("--proposed", help="With the rules that are proposed.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write an SVG here.")] = None,
    as_json: Json = False,
) -> None:
    """Play the subnet's economics: what each known cheat earns against honest work."""
    from horde_agents.simulation.report import compared, picture, table
    from horde_agents.simulation.strategies import STRATEGIES, UnknownStrategy, strategy_named
    from horde_agents.simulation.world import PROPOSED, Rules, Setting

    try:
        chosen = [strategy_named(name) for name in strategy] if strategy else list(STRATEGIES)
    except UnknownStrategy as error:
        raise typer.BadParameter(str(error), param_hint="--strategy") from error
    setting = Setting(seed=seed, coalition=coalition, rules=PROPOSED if proposed else Rules())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Playing strategies", total=len(chosen))
        rows = compared(setting, chosen, cycles, lambda _: progress.advance(task))
    if plot:
        title = f"Income against honesty: {coalition:.0%} of stake, {cycles} cycles, seed {seed}"
        plot.write_text(picture(rows, title))
    typer.echo(json.dumps([asdict(row) for row in rows]) if as_json else table(rows), nl=as_json)
