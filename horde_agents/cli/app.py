"""The command ``horde``: its groups, and how errors become one sentence and an exit code."""

import sys

import typer

from horde_agents import __version__
from horde_agents.cli import (
    agents,
    config,
    demo,
    devchain,
    doctor,
    jobs,
    placement,
    pool,
    receipts,
    score,
    simulate,
)

app = typer.Typer(
    name="horde",
    help="ComputeHorde as software that operators run: agents, jobs, a development chain.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(agents.facilitator, name="facilitator")
app.add_typer(agents.validator, name="validator")
app.add_typer(agents.miner, name="miner")
app.add_typer(agents.executor, name="executor")
app.add_typer(jobs.app, name="job")
app.add_typer(placement.app, name="placement")
app.add_typer(pool.app, name="pool")
app.add_typer(score.app, name="score")
app.add_typer(config.app, name="config")
app.add_typer(receipts.app, name="receipts")
app.add_typer(devchain.app, name="devchain")
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """The entry point: a mendable fault is one sentence on standard error."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        typer.echo(f"horde: {error}", err=True)
        sys.exit(2)


def _mendable() -> tuple[type[Exception], ...]:
    """What a person can mend: one sentence, exit code 2. Imported late, as most commands need none of it."""
    from horde_agents.clients.chain import ChainFault
    from horde_agents.clients.facilitator import FacilitatorFault
    from horde_agents.clients.validator_api import ValidatorApiFault
    from horde_agents.jobs.classes import ClassesWrong
    from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied
    from horde_agents.placement.orders import OrderRefused
    from horde_agents.protocol.signed_configuration import ConfigurationRefused
    from horde_agents.protocol.signing import WalletUnreadable
    from horde_agents.receipts.evidence import BundleWrong
    from horde_agents.runtime.settings import SettingsWrong
    from horde_agents.scoring.inputs import InputsWrong
    from horde_agents.scoring.result import ResultWrong
    from horde_agents.scoring.tally import UnknownOutcome
    from horde_agents.store.engine import StoreUnusable

    evidence = (receipts.EvidenceMissing, BundleWrong)
    ours = (ConfigurationRefused, demo.DemoFailed, devchain.DevchainRefused, OrderRefused)
    outside = (CoordinationAway, CoordinationDenied, FacilitatorFault, ChainFault, ValidatorApiFault)
    scores = (score.ScoreMissing, InputsWrong, ResultWrong, UnknownOutcome)
    return (SettingsWrong, StoreUnusable, WalletUnreadable, ClassesWrong, *outside, *scores, *evidence, *ours)
