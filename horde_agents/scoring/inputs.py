"""Everything that one cycle is scored from, as one canonical text and back."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError

from horde_agents.scoring.canonical import NotCanonical, canonical_json, read_canonical
from horde_agents.scoring.configuration import Configuration
from horde_agents.scoring.facts import BatchCount, MinerWork, NeuronFact

#: The knobs that scoring reads; others would change the text whenever one is added.
_KNOBS: Final[set[str]] = {
    "version",
    "class_weights",
    "max_executors_per_class",
    "organic_s_per_point",
    "dancing_bonus",
    "dancing_share",
    "burn_rate",
    "burn_hotkeys",
}
#: Changes whenever the same facts would be written, or scored, in another way.
INPUTS_VERSION: Final = 1


def _knobs(configuration: Configuration) -> dict[str, Any]:
    return configuration.model_dump(mode="json", include=_KNOBS)


class InputsWrong(Exception):
    """A cycle's inputs cannot be scored; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The facts of one cycle; ``in_order`` sorts them, and keeps of the configuration what scoring reads.

    ``neurons`` is the metagraph at the cycle's end, ``share`` this validator's fair share of capacity by
    stake as of the cycle's start, such as ``1/3``. ``counts`` are measured in the cycle, ``previous_counts``
    in the one before. ``verdicts_sha256`` names the log up to the cycle's last verdict.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    netuid: Annotated[int, Field(ge=0, le=65535)]
    cycle: Annotated[int, Field(ge=-1, lt=2**40)]
    length_blocks: Annotated[int, Field(gt=0, lt=2**32)]
    block_us: Annotated[int, Field(gt=0, lt=2**40)]
    validator_hotkey: Annotated[str, Field(min_length=1, max_length=64)]
    share: Annotated[str, Field(pattern=r"^[0-9]{1,60}/[1-9][0-9]{0,59}$")]
    configuration: Annotated[Configuration, PlainSerializer(_knobs)]
    neurons: tuple[NeuronFact, ...]
    work: tuple[MinerWork, ...]
    counts: tuple[BatchCount, ...]
    previous_counts: tuple[BatchCount, ...]
    verdicts_sha256: Annotated[str, Field(max_length=64)]
    version: Literal[1] = INPUTS_VERSION

    @property
    def cycle_us(self) -> int:
        """How long the cycle is by the clock, at the chain's nominal pace."""
        return self.length_blocks * self.block_us

    @property
    def point_us(self) -> int:
        """The organic time that makes a point."""
        return point_us(self.configuration)

    @property
    def share_of_capacity(self) -> Fraction:
        """``share`` as a number."""
        return Fraction(self.share)

    def in_order(self) -> "Inputs":
        """The same facts in the one order in which they are written and scored.

        Raises:
            InputsWrong: two facts about one thing, or a share above 1.
        """
        _refuse_twins((neuron.uid for neuron in self.neurons), "uid")
        _refuse_twins((neuron.hotkey for neuron in self.neurons), "hotkey")
        _refuse_twins(((work.miner_hotkey, work.executor_class) for work in self.work), "work of")
        for counts in (self.counts, self.previous_counts):
            _refuse_twins(((c.batch_uuid, c.miner_hotkey, c.executor_class) for c in counts), "count of")
            _refuse_twins({(c.batch_uuid, c.fire_block): c.batch_uuid for c in counts}.values(), "batch")
        if self.share_of_capacity > 1:
            raise InputsWrong(f"The share {self.share} of validator {self.validator_hotkey} is above 1.")
        return self._sorted()

    def to_json(self) -> str:
        """The canonical text.

        Raises:
            InputsWrong: as ``in_order``.
        """
        return canonical_json(_ADAPTER.dump_python(self.in_order(), mode="json"))

    @staticmethod
    def from_json(text: str) -> "Inputs":
        """What ``to_json`` wrote.

        Raises:
            InputsWrong: no JSON, a float, an unknown or missing field, a value out of its bounds, twins.
        """
        try:
            read_canonical(text)
            inputs = _ADAPTER.validate_json(text)
        except NotCanonical as error:
            raise InputsWrong(f"The text of the inputs {error}.") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputsWrong(f"The inputs are wrong at {where:.120}: {first['msg']:.200}.") from error
        return inputs.in_order()

    def _sorted(self) -> "Inputs":
        return Inputs(
            netuid=self.netuid,
            cycle=self.cycle,
            length_blocks=self.length_blocks,
            block_us=self.block_us,
            validator_hotkey=self.validator_hotkey,
            share=_lowest_terms(self.share_of_capacity),
            configuration=Configuration.model_validate(_knobs(self.configuration)),
            neurons=tuple(sorted(self.neurons, key=lambda neuron: neuron.uid)),
            work=tuple(_ordered(w) for w in sorted(self.work, key=_by_miner)),
            counts=tuple(sorted(self.counts, key=_by_batch)),
            previous_counts=tuple(sorted(self.previous_counts, key=_by_batch)),
            verdicts_sha256=self.verdicts_sha256,
        )


_ADAPTER: Final = TypeAdapter(Inputs)


def point_us(configuration: Configuration) -> int:
    """The organic time that makes a point."""
    return configuration.organic_s_per_point * 1_000_000


def _by_miner(work: MinerWork) -> tuple[str, str]:
    return work.miner_hotkey, work.executor_class


def _by_batch(count: BatchCount) -> tuple[int, str, str, str]:
    return count.fire_block, count.batch_uuid, count.miner_hotkey, count.executor_class


def _ordered(work: MinerWork) -> MinerWork:
    where = f"of {work.miner_hotkey} and {work.executor_class}"
    _refuse_twins((batch.batch_uuid for batch in work.batches), f"batch {where}")
    batches = tuple(sorted(work.batches, key=lambda batch: batch.batch_uuid))
    return MinerWork(work.miner_hotkey, work.executor_class, batches, work.organic)


def _refuse_twins(names: Iterable[Any], what: str) -> None:
    twins = [name for name, many in Counter(names).items() if many > 1]
    if twins:
        raise InputsWrong(f"The inputs have two rows for {what} {twins[0]!r:.200}.")


def _lowest_terms(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
