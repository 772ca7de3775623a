"""From a prompt to a model's tokens, alike for every engine."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from prompt_solver.faults import ExitCode, SolverFault

#: how a chat template asks for today's date
_CLOCK: Final = "strftime_now"


class Tokenizer(Protocol):
    """What both libraries' tokenizers can do; a model that is not for a chat has no ``chat_template``."""

    chat_template: str | None

    def apply_chat_template(
        self, said: Sequence[Mapping[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """The text that the model is to go on with."""
        ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, Sequence[int]]:
        """``input_ids`` and more."""
        ...


def check_template(tokenizer: Tokenizer) -> None:
    """Refuse a chat template that looks at the clock: answers would change at midnight.

    Raises:
        SolverFault: it does.
    """
    if _CLOCK in str(tokenizer.chat_template or ""):
        text = f"The model's chat template calls {_CLOCK}. Put a fixed date there and pin the model anew."
        raise SolverFault(ExitCode.BAD_PIN, text)


def tokens_of(tokenizer: Tokenizer, prompt: str, most: int) -> Sequence[int]:
    """The tokens of ``prompt``, said by a user where the model is made for a chat.

    Raises:
        SolverFault: there are more than ``most``.
    """
    text = prompt
    if tokenizer.chat_template:
        said = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    # a chat template has written the special tokens already
    tokens = tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"]
    if len(tokens) > most:
        said_first = f"{prompt:.60}".encode("ascii", "backslashreplace").decode()
        fault = f"A prompt has {len(tokens)} tokens; {most} fit beside an answer. Shorten it: {said_first} …"
        raise SolverFault(ExitCode.BAD_PROMPTS, fault)
    return tokens
