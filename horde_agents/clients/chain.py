"""The subnet's chain as agents see it: who is registered, with what stake, listening where.

Errors, by remedy::

    ChainFault
    ├── ChainAway        no endpoint answers, or it lost the connection: try later
    ├── ChainRefused     the chain took the call and said no; the text is its own: mend the cause
    └── ChainUnfit       the runtime or the SDK lacks what we need: upgrade one of them

``bittensor`` is imported on the first connection, because it costs tens of MiB.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, Protocol

from horde_agents.protocol.signing import Hotkey, KeypairSigner

_CALL_S: Final = 30.0
#: Seconds for something to get into a block.
SUBMIT_S: Final = 90.0
#: Parts of the SDK's and the node's texts; an extrinsic that is already in the pool may be ours.
_UNCLEAR: Final = ("onnection", "already in the pool", "lready imported", "riority is too low")
#: Of a block's hash, ``0x`` included.
_HASH_DIGITS: Final = 66


class ChainFault(Exception):
    """The chain did not do its part."""


class ChainAway(ChainFault):
    """No endpoint answers."""


class ChainRefused(ChainFault):
    """The chain said no."""


class ChainUnfit(ChainFault):
    """The runtime and the SDK do not fit each other."""


@dataclass(frozen=True, slots=True)
class Neuron:
    """One UID; ``stake_rao`` is its total stake, ``axon`` is host and port or ``None``."""

    uid: int
    hotkey: Hotkey
    coldkey: str
    stake_rao: int
    validator_permit: bool
    axon: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Metagraph:
    """The subnet at one block."""

    netuid: int
    block_number: int
    neurons: tuple[Neuron, ...]

    def find(self, hotkey: str) -> Neuron | None:
        """The neuron of a hotkey, or ``None``."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)

    def validators(self) -> dict[str, int]:
        """Stake in rao of every neuron with a validator permit, by hotkey."""
        return {neuron.hotkey: neuron.stake_rao for neuron in self.neurons if neuron.validator_permit}


class ChainClient(Protocol):
    """What agents need of the chain; every method raises ``ChainFault``."""

    async def metagraph(self, block: int | None = None) -> Metagraph:
        """The subnet now, or as it was at a block, which a node keeps for a few hundred blocks."""

    async def head(self) -> int:
        """The newest block."""

    async def block_hash(self, block: int) -> bytes:
        """The hash of a block up to the newest."""

    async def serve_axon(self, host: str, port: int) -> bool:
        """Publish where this hotkey listens, unless the chain says so already; True when it was published."""

    async def close(self) -> None:
        """End the connection."""


@dataclass(slots=True)
class BittensorChain:
    """One Subtensor endpoint through the Bittensor SDK; reconnects with the next call after a failure."""

    url: str
    netuid: int
    signer: KeypairSigner = field(repr=False)
    _client: Any = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def metagraph(self, block: int | None = None) -> Metagraph:
        raw = await self.call(
            lambda client: client.subnets.metagraph(self.netuid, block=block, commitments=False)
        )
        if raw is None:
            raise ChainRefused(
                f"Subnet {self.netuid} does not exist on {self.url}; check the setting netuid."
            )
        return Metagraph(self.netuid, int(raw.block), tuple(_neuron(neuron) for neuron in raw.neurons))

    async def head(self) -> int:
        return int(await self.call(lambda client: client.block()))

    async def block_hash(self, block: int) -> bytes:
        # the SDK has no public way to ask for the hash of a block
        text = str(await self.call(lambda client: client._substrate.block_hash(block)))
        if len(text) != _HASH_DIGITS:
            raise ChainUnfit(f"The chain at {self.url} says {text!r:.80} is the hash of block {block}.")
        return bytes.fromhex(text.removeprefix("0x"))

    async def serve_axon(self, host: str, port: int) -> bool:
        known = (await self.metagraph()).find(self.signer.hotkey)
        if known is None:
            raise ChainRefused(
                f"Hotkey {self.signer.hotkey} is not registered on subnet {self.netuid}; register it."
            )
        if known.axon == (host, port):
            return False
        result = await self.call(lambda client: self._submit_axon(client, host, port), SUBMIT_S)
        if not result.success:
            raise ChainRefused(
                f"Serving the axon {host}:{port} was refused: {result.error or result.message}"
            )
        return True

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _submit_axon(self, client: Any, host: str, port: int) -> Any:  # noqa: ANN401
        import bittensor

        return await self.execute(client, bittensor.ServeAxon(netuid=self.netuid, ip=host, port=port))

    async def execute(self, client: Any, intent: Any) -> Any:  # noqa: ANN401  (the SDK's own types)
        """Submit an intent, signed by the hotkey, and wait until it is in a block."""
        result = await client.execute(intent, self.wallet, wait_for_finalization=False)
        if not result.success and getattr(result.error, "name", "") == "Stale":
            # the SDK's nonce cache runs behind after a shielded call; it is cleared by the failure
            result = await client.execute(intent, self.wallet, wait_for_finalization=False)
        return result

    @property
    def wallet(self) -> Any:  # noqa: ANN401  (whatever the SDK takes for one)
        """The hotkey in the shape of the SDK's wallet; the coldkey is not here."""
        key = self.signer.keypair
        return SimpleNamespace(hotkey=key, coldkey=key, coldkeypub=key)

    async def call(self, call: Any, limit_s: float = _CALL_S) -> Any:  # noqa: ANN401
        """Ask the SDK's client something, one question at a time.

        Raises:
            ChainFault: whatever went wrong, by its remedy.
        """
        async with self._turn:
            try:
                with _translated(self.url):
                    async with asyncio.timeout(limit_s):
                        return await call(await self._connected())
            except ChainAway:
                await self._forget()
                raise

    async def _connected(self) -> Any:  # noqa: ANN401
        if self._client is None:
            import bittensor

            client = bittensor.Client(self.url)
            await client.connect()
            self._client = client
        return self._client

    async def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                async with asyncio.timeout(1.0):
                    await client.close()
            except Exception:  # noqa: BLE001, S110  (a connection already broken; nothing is left to save)
                pass


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Every error of the SDK, as one of ours."""
    import bittensor

    try:
        yield
    except ChainFault:
        raise
    except bittensor.ChainError as error:
        kind = ChainAway if is_unclear(str(error)) else ChainRefused
        raise kind(f"The chain at {url}: {error}") from error
    except (bittensor.BittensorError, OSError, TimeoutError) as error:
        raise ChainAway(f"The chain at {url} does not answer: {error!r}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainUnfit(
            f"The chain at {url} and bittensor {bittensor.__version__} do not fit: {error!r}"
        ) from error


def is_unclear(text: str) -> bool:
    """Whether an error leaves open what became of the call: the connection is gone, or the pool has it."""
    return any(mark in text for mark in _UNCLEAR)


def _neuron(raw: Any) -> Neuron:  # noqa: ANN401
    return Neuron(
        int(raw.uid),
        Hotkey(str(raw.hotkey)),
        str(raw.coldkey),
        int(raw.total_stake.rao),
        bool(raw.validator_permit),
        _axon(raw.axon),
    )


def _axon(text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
