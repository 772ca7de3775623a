"""Weights on the chain: the subnet's terms, rows as they stand, and the three ways of setting one.

A row is raw: whole weights by UID, the largest 65,535. Errors are those of ``chain.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from horde_agents.clients.chain import SUBMIT_S, BittensorChain, ChainAway, ChainRefused, is_unclear

_PALLET: Final = "SubtensorModule"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the subnet asks of weights at ``block``; ``last_update`` is when this hotkey last set any.

    ``epoch`` is that of a commit made in the next block; ``most_weight`` is the largest part of a row
    that one UID may have, in 65,535ths, and ``least_uids`` how many a row must have; ``uids`` has the UID
    of every registered hotkey.
    """

    block: int
    uid: int | None
    has_permit: bool
    commit_reveal: bool
    reveal_epochs: int
    epoch: int
    rate_limit_blocks: int
    last_update: int
    version_key: int
    uids: Mapping[str, int]
    least_uids: int = 0
    most_weight: int = 65_535


@dataclass(frozen=True, slots=True)
class Row:
    """Weights to set: parallel ``uids`` and ``values``."""

    uids: tuple[int, ...]
    values: tuple[int, ...]
    version_key: int = 0


@dataclass(frozen=True, slots=True)
class Salted:
    """A row with the salt that hides it until it is revealed."""

    row: Row
    salt: tuple[int, ...] = field(repr=False)


class WeightsClient(Protocol):
    """What setting weights needs of the chain; every method raises ``ChainFault``."""

    async def terms(self) -> Terms:
        """The subnet's terms now."""

    async def row(self, uid: int) -> Mapping[int, int]:
        """The row of a UID as it stands."""

    async def set_plain(self, row: Row) -> None:
        """Set a row for all to see."""

    async def commit_timelocked(self, row: Row) -> int:
        """Commit a row that opens by itself; the round of the beacon that opens it."""

    async def timelocked_at(self, epoch: int) -> int | None:
        """The block of this hotkey's newest sealed row of ``epoch``, if it has one."""

    async def commit_salted(self, salted: Salted) -> None:
        """Commit the hash of a row."""

    async def has_salted(self, salted: Salted) -> bool:
        """Whether the hash of this row is committed and waits for its reveal."""

    async def reveal_salted(self, salted: Salted) -> None:
        """Reveal a row whose hash was committed."""


@dataclass(frozen=True, slots=True)
class BittensorWeights:
    """The weights of one hotkey, through the Bittensor SDK."""

    chain: BittensorChain

    async def terms(self) -> Terms:
        metagraph = await self.chain.metagraph()
        own = metagraph.find(self.chain.signer.hotkey)
        updates = await self._read("LastUpdate")
        return Terms(
            block=metagraph.block_number,
            uid=own.uid if own else None,
            has_permit=own is not None and own.validator_permit,
            commit_reveal=bool(await self._read("CommitRevealWeightsEnabled")),
            reveal_epochs=int(await self._read("RevealPeriodEpochs")),
            epoch=await self._epoch(metagraph.block_number + 1),
            rate_limit_blocks=int(await self._read("WeightsSetRateLimit")),
            last_update=int(updates[own.uid]) if own else 0,
            version_key=int(await self._read("WeightsVersionKey")),
            uids={neuron.hotkey: neuron.uid for neuron in metagraph.neurons},
            least_uids=int(await self._read("MinAllowedWeights")),
            most_weight=int(await self._read("MaxWeightsLimit")),
        )

    async def row(self, uid: int) -> Mapping[int, int]:
        entries = await self._read("Weights", uid)
        return {int(dest): int(weight) for dest, weight in entries or ()}

    async def set_plain(self, row: Row) -> None:
        await self._execute(self._intent(row), "Setting weights")

    async def commit_timelocked(self, row: Row) -> int:
        result = await self._execute(self._intent(row), "Committing weights")
        return int((result.data or {}).get("reveal_round") or 0)

    async def timelocked_at(self, epoch: int) -> int | None:
        entries = await self._read("TimelockedWeightCommits", epoch)
        own = (int(entry[1]) for entry in entries or () if str(entry[0]) == self.chain.signer.hotkey)
        return max(own, default=None)

    async def commit_salted(self, salted: Salted) -> None:
        import bittensor

        call = bittensor.calls.SubtensorModule.commit_weights(
            netuid=self.chain.netuid, commit_hash=self._hash(salted)
        )
        result = await self.chain.call(
            lambda client: client.submit_call(
                call, self.chain.wallet, signer="hotkey", wait_for_finalization=False
            ),
            SUBMIT_S,
        )
        _refuse_failed(result, "Committing a hash of weights")

    async def has_salted(self, salted: Salted) -> bool:
        entries = await self._read("WeightCommits", self.chain.signer.hotkey)
        return any(str(entry[0]) == self._hash(salted) for entry in entries or ())

    async def reveal_salted(self, salted: Salted) -> None:
        import bittensor

        intent = bittensor.RevealWeights(
            netuid=self.chain.netuid,
            uids=list(salted.row.uids),
            weights=[float(value) for value in salted.row.values],
            salt=list(salted.salt),
            version_key=salted.row.version_key,
        )
        await self._execute(intent, "Revealing weights")

    def _intent(self, row: Row) -> Any:  # noqa: ANN401  (the SDK's own)
        import bittensor

        return bittensor.SetWeights(
            netuid=self.chain.netuid,
            uids=list(row.uids),
            weights=[float(value) for value in row.values],
            version_key=row.version_key,
        )

    async def _execute(self, intent: Any, what: str) -> Any:  # noqa: ANN401
        result = await self.chain.call(lambda client: self.chain.execute(client, intent), SUBMIT_S)
        _refuse_failed(result, what)
        return result

    async def _read(self, name: str, *more: object) -> Any:  # noqa: ANN401  (a value of the runtime's)
        params = [self.chain.netuid, *more]
        return await self.chain.call(lambda client: client.query((_PALLET, name), params))

    async def _epoch(self, block: int) -> int:
        """The epoch of a commit in ``block``: the index, and one more where that block ends an epoch."""
        index = int(await self._read("SubnetEpochIndex"))
        since = block - int(await self._read("LastEpochBlock"))
        tempo = int(await self._read("Tempo"))
        return index + (tempo > 0 and since >= tempo)

    def _hash(self, salted: Salted) -> str:
        """blake2-256 over the SCALE bytes of hotkey, netuid, row, salt and version key."""
        row = salted.row
        body = self.chain.signer.public_key + self.chain.netuid.to_bytes(2, "little")
        body += _u16s(row.uids) + _u16s(row.values) + _u16s(salted.salt)
        body += row.version_key.to_bytes(8, "little")
        return "0x" + blake2b(body, digest_size=32).hexdigest()


def is_same(row: Row, kept: Mapping[int, int]) -> bool:
    """Whether the chain has this row, whose largest value is 65,535; it may round each value otherwise."""
    wanted = {uid: value for uid, value in zip(row.uids, row.values, strict=True) if value}
    near = (abs(value - kept.get(uid, -2)) <= 1 for uid, value in wanted.items())
    return all(near) and all(uid in wanted or value <= 1 for uid, value in kept.items())


def _refuse_failed(result: Any, what: str) -> None:  # noqa: ANN401  (the SDK's result)
    if not result.success:
        why = str(result.error or result.message)
        if is_unclear(why):
            raise ChainAway(f"{what} has no clear end: {why}")
        name = getattr(result.error, "name", "")
        raise ChainRefused(f"{what} was refused: {why} {name}".rstrip())


def _u16s(values: Sequence[int]) -> bytes:
    return _compact(len(values)) + b"".join(value.to_bytes(2, "little") for value in values)


def _compact(number: int) -> bytes:
    """SCALE's compact form of a length."""
    if number < 1 << 6:
        return (number << 2).to_bytes(1, "little")
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    return (number << 2 | 2).to_bytes(4, "little")
