"""The knobs that a validator may turn while it runs; how they come, signed, is ``agents/validator``'s."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from horde_agents.jobs.classes import CATALOGUE

_MOST_WEIGHT: Final = 1_000_000
_MOST_DIGITS: Final = 24


def _as_fraction(text: str) -> str:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"has more than {_MOST_DIGITS} characters")
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("is no number such as 1.3 or 13/10") from error
    if value < 0:
        raise ValueError("is negative")
    return text


#: An exact number, written as ``1.3`` or ``13/10``; floats would differ between machines.
Exact = Annotated[str, Field(strict=True), AfterValidator(_as_fraction)]


class Configuration(BaseModel):
    """One version of the dynamic configuration; everything has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(0, ge=0, description="Counts up; a lower or equal one is refused.")

    class_weights: dict[str, int] = Field(
        default_factory=lambda: {name: row.weight for name, row in CATALOGUE.items()},
        description="Share of each executor class among all; a class that is missing scores nothing.",
    )
    max_executors_per_class: dict[str, int] = Field(
        default_factory=dict,
        description="Most executors of a class that count for one miner; none: no limit.",
    )
    organic_s_per_point: int = Field(300, gt=0, description="Seconds of organic work that make a point.")
    dancing_bonus: Exact = Field("1.3", description="Factor for a coldkey whose measured counts moved.")
    dancing_share: Exact = Field("0.2", description="Share of a coldkey's slots that must have moved.")
    excuse_minimum_stake_tao: int = Field(50_000, ge=0, description="Stake of a signer that excuses.")
    excuse_proven_batches: int = Field(
        12,
        ge=0,
        le=1000,
        description="An excuse lifts no coldkey above what it proved in so many batches; 0: no such bound.",
    )
    progress_interval_s: int = Field(60, gt=0, description="Seconds between progress receipts.")
    synthetic_share: Exact = Field("0.05", description="Largest part of slot time for synthetic work.")
    single_challenges_per_cycle: int = Field(2, ge=0, description="Unannounced challenges between batches.")
    cross_validation_share: Exact = Field("0.05", description="Part of organic jobs that is run twice.")
    trusted_validation_share: Exact = Field("0.01", description="Part that the trusted miner repeats.")
    small_pool_share: Exact = Field("0.05", description="Capacity shared by validators with little stake.")
    small_pool_stake_share: Exact = Field("0.01", description="Stake share below which the pool serves.")
    commit_reveal: bool = Field(True, description="Hide weights where the subnet does; off: they wait there.")
    burn_rate: Exact = Field("0", description="Part of all weight that goes to the burn hotkeys.")
    burn_hotkeys: tuple[str, ...] = Field((), description="Registered hotkeys that get the burnt part.")

    @field_validator("class_weights")
    @classmethod
    def _weights_known(cls, weights: Mapping[str, int]) -> Mapping[str, int]:
        for name, weight in weights.items():
            if name not in CATALOGUE:
                raise ValueError(f"{name!r:.80} is no executor class")
            if not 0 <= weight <= _MOST_WEIGHT:
                raise ValueError(f"{name}: weight {weight} is not within 0..{_MOST_WEIGHT}")
        if sum(weights.values()) == 0:
            raise ValueError("the weights of all classes sum to nothing")
        return weights

    @field_validator("max_executors_per_class")
    @classmethod
    def _limits_known(cls, limits: Mapping[str, int]) -> Mapping[str, int]:
        for name, most in limits.items():
            if name not in CATALOGUE or most < 0:
                raise ValueError(f"{name!r:.80}: {most} executors is no limit of a known class")
        return limits

    @field_validator(
        "dancing_share",
        "synthetic_share",
        "cross_validation_share",
        "trusted_validation_share",
        "small_pool_share",
        "small_pool_stake_share",
        "burn_rate",
    )
    @classmethod
    def _is_share(cls, text: str) -> str:
        if Fraction(text) > 1:
            raise ValueError("is above 1")
        return text
