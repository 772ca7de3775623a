"""What an engine is, and how one is made; each imports its libraries only when it is the one asked for."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.known_engines import ENGINES
from prompt_solver.pin import Pin


class Engine(Protocol):
    """A loaded model."""

    def answers(self, prompts: Sequence[str]) -> Sequence[str]:
        """One text for each prompt, in their order.

        A prompt's answer depends on nothing else: not on the time, nor on the prompts beside it.

        Raises:
            SolverFault: a prompt is too long for the model.
        """
        ...


def load_engine(folder: Path, pin: Pin) -> Engine:
    """The engine that ``pin`` names, with the model in ``folder``.

    Raises:
        SolverFault: its libraries are not in this image, or the model cannot be used with it.
    """
    module, name = ENGINES[pin.engine]
    try:
        made = getattr(import_module(f"prompt_solver.{module}"), name)
    except ImportError as error:
        text = f"The engine {pin.engine} cannot be imported ({error}). Build the image on a base that has it."
        raise SolverFault(ExitCode.ENGINE_MISSING, text) from error
    engine: Engine = made(folder, pin)
    return engine
