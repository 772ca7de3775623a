"""What scoring a cycle gives: the weights, and for each miner how every point came about."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from horde_agents.scoring.canonical import NotCanonical, canonical_json, read_canonical

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
#: An exact number, whole or as a fraction in lowest terms.
Exactly = Annotated[str, Field(pattern=r"^[0-9]+(/[1-9][0-9]*)?$")]
Count = Annotated[int, Field(ge=0)]


class ResultWrong(Exception):
    """A text is no result of scoring; it says why."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A miner's points in one class, by where they come from, and its part of the class.

    ``organic_points`` is before the allowance; ``points`` is synthetic points and the smaller of
    organic points and allowance, times ``bonus``. ``share_ppb`` is the part of the whole weight, in parts
    per billion, that the class gives the miner.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    executor_class: str
    synthetic_passed: Count
    synthetic_excused: Count
    above_executor_limit: Count
    outcomes: dict[str, Count]
    organic_users: Count
    organic_users_topped_up: Count
    organic_points: Exactly
    slots: Count
    allowance_points: Exactly
    allowance_bit: bool
    bonus: Exactly
    bonus_why: str
    points: Exactly
    class_points: Exactly
    class_weight: Exactly
    share_ppb: Count


@dataclass(frozen=True, slots=True)
class MinerScore:
    """A miner's part; ``dropped`` says why its work gives no weight, and is empty where it does."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    hotkey: str
    coldkey: str
    uid: int | None
    classes: tuple[ClassScore, ...]
    share_ppb: Count
    burn_ppb: Count
    weight: Annotated[int, Field(ge=0, le=65535)]
    dropped: str


@dataclass(frozen=True, slots=True)
class Result:
    """Weights in the order of UIDs, without zeros; none if nobody earned and nothing burns."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    cycle: int
    netuid: int
    uids: tuple[int, ...]
    weights: tuple[int, ...]
    miners: tuple[MinerScore, ...]
    burn_rate: Exactly
    inputs_sha256: str
    version: Literal[1] = 1

    @property
    def hotkeys(self) -> tuple[str, ...]:
        """Who earned the weights, in the order of ``uids``."""
        by_uid = {miner.uid: miner.hotkey for miner in self.miners}
        return tuple(by_uid[uid] for uid in self.uids)

    def miner(self, uid: int) -> MinerScore | None:
        """The score of a UID, or ``None`` if it did no work."""
        return next((miner for miner in self.miners if miner.uid == uid), None)

    def to_json(self) -> str:
        """The canonical text."""
        return canonical_json(_ADAPTER.dump_python(self, mode="json"))

    @staticmethod
    def from_json(text: str) -> "Result":
        """What ``to_json`` wrote.

        Raises:
            ResultWrong: it is none.
        """
        try:
            read_canonical(text)
            return _ADAPTER.validate_json(text)
        except (NotCanonical, ValidationError) as error:
            raise ResultWrong(f"The text of a result is wrong: {error!s:.300}") from error


_ADAPTER: Final = TypeAdapter(Result)
