"""Makes prompts that nobody has seen: a small grammar filled from the system's randomness."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WORD_LIST: Final = (
    "amber anchor barley basalt beacon birch bridge canal candle cedar cellar cinder clover cobalt "
    "compass copper coral cotton crater dagger delta desert ember falcon feather fern flint forest "
    "garnet glacier granite harbor hazel heron hollow indigo iron island ivory jasper juniper kettle "
    "lagoon lantern linen lotus magnet maple marble meadow mirror nectar nickel oasis olive onyx "
    "orchid otter pebble pepper "
)
_WORDS: Final = tuple(_WORD_LIST.split())
_ORDERS: Final = (
    "Write a short story in which {0}, {1} and {2} decide matter {3}.",
    "Explain to a child how {0} number {3} could be made of {1} and {2}.",
    "List seven uses of {0} beside {1} in the town of {2}, year {3}.",
    "Argue against trading {3} pieces of {0} for {1} and {2}.",
    "Describe a machine that turns {0} into {1} with {2}; its serial number is {3}.",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt; its id says nothing of its place."""

    id: str
    text: str


def sample(count: int) -> Sequence[Prompt]:
    """``count`` fresh prompts; each has at least 80 bits that only we know."""
    return [Prompt(secrets.token_hex(8), _text()) for _ in range(count)]


def drawn(prompts: Sequence[Prompt], most: int) -> Sequence[Prompt]:
    """Up to ``most`` of them, which nobody can guess."""
    return secrets.SystemRandom().sample(prompts, min(most, len(prompts)))


def _text() -> str:
    words = [secrets.choice(_WORDS) for _ in range(3)]
    return secrets.choice(_ORDERS).format(*words, secrets.randbits(64))
