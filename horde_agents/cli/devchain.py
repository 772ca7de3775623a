"""``horde devchain``: run the development chain."""

import typer

app = typer.Typer(help="A development chain that stock Bittensor tools talk to.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps the group a group while it has one command."""
