"""Why no answers were written, each with the exit code of the container that says so."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How the container ends; 1 is an error that nobody foresaw, 2 a wrong command line."""

    ANSWERED = 0
    BAD_PIN = 3
    BAD_PROMPTS = 4
    TOO_MANY_PROMPTS = 5
    MODEL_MISSING = 6
    MODEL_DIFFERS = 7
    ENGINE_MISSING = 8
    NOT_WRITTEN = 9


class SolverFault(Exception):
    """The text names what is at fault, its value and the remedy."""

    def __init__(self, exit_code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
