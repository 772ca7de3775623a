"""The development chain: genesis, blocks, what extrinsics change. No sockets; time comes from the caller."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from bittensor_core import Keypair, Runtime

from horde_agents.devchain import extrinsics, scale
from horde_agents.devchain.calls import Calls
from horde_agents.devchain.extrinsics import Extrinsic, Invalid, Pool
from horde_agents.devchain.metadata import runtime, served
from horde_agents.devchain.shield import Shield
from horde_agents.devchain.storage import KEPT_BLOCKS, Storage
from horde_agents.devchain.subnets import RAO, Refused, Subnets
from horde_agents.devchain.views import Views
from horde_agents.devchain.weights import Weights

#: Marks the genesis of development chains; the beacon shim works on no other.
GENESIS_MARK: Final = b"horde devchain"
_RICH: Final = ("Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie")
_RICH_RAO: Final = 1_000_000 * RAO
_ZERO_HASH: Final = "0x" + "00" * 32
_WEIGHT: Final = {"ref_time": 10**8, "proof_size": 1000}
_DISPATCH: Final = {"weight": _WEIGHT, "class": "Normal", "pays_fee": "Yes"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block."""

    number: int
    hash: str
    parent: str
    extrinsics: tuple[bytes, ...] = field(repr=False)

    def header(self) -> dict[str, Any]:
        """The header as the RPC gives it."""
        return {
            "parentHash": self.parent,
            "number": hex(self.number),
            "stateRoot": _ZERO_HASH,
            "extrinsicsRoot": _ZERO_HASH,
            "digest": {"logs": []},
        }


@dataclass(slots=True)
class Devchain:
    """The whole chain in memory; use ``Devchain.fresh``.

    ``seed`` makes its genesis and its shield key; a chain of the same seed and blocks is the same chain.
    """

    runtime: Runtime
    metadata: bytes = field(repr=False)
    metadata_v14: bytes = field(repr=False)
    slot_ms: int
    shield: Shield
    storage: Storage
    subnets: Subnets
    weights: Weights
    views: Views
    genesis_hash: bytes
    pool: Pool = field(default_factory=Pool)
    blocks: dict[int, Block] = field(default_factory=dict)
    number_by_hash: dict[str, int] = field(default_factory=dict)
    _records: list[dict[str, Any]] = field(default_factory=list)
    _opened: list[bytes] = field(default_factory=list)
    _error_index: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls, recorded: tuple[bytes, bytes], *, slot_ms: int, seed: bytes, netuids: Iterable[int], tempo: int
    ) -> "Devchain":
        """A chain at its genesis block."""
        metadata = served(recorded[0], slot_ms)
        codec = runtime(metadata)
        storage = Storage(codec)
        subnets = Subnets(storage)
        digest = blake2b(GENESIS_MARK + seed + blake2b(metadata).digest(), digest_size=32 - len(GENESIS_MARK))
        chain = cls(
            codec,
            metadata,
            recorded[1],
            slot_ms,
            Shield(blake2b(b"shield" + seed, digest_size=64).digest()),
            storage,
            subnets,
            Weights(subnets),
            Views(codec, metadata, subnets),
            GENESIS_MARK + digest.digest(),
        )
        chain._error_index = {
            (pallet["name"], error["name"]): (pallet["index"], error["index"])
            for pallet in codec.metadata_ir()["pallets"]
            for error in pallet["errors"]
        }
        chain._write_genesis(netuids, tempo)
        return chain

    @property
    def number(self) -> int:
        """The newest block's number."""
        return self.storage.block_number

    @property
    def head(self) -> Block:
        """The newest block."""
        return self.blocks[self.number]

    def hash_at(self, number: int) -> bytes | None:
        """The hash of a block that is still kept."""
        block = self.blocks.get(number)
        return bytes.fromhex(block.hash[2:]) if block else None

    def next_nonce(self, address: str) -> int:
        """What the account's next extrinsic must carry, those that wait included."""
        return self.pool.next_nonce(address, self.subnets.account(address)["nonce"])

    def submit(self, raw: bytes, watch: extrinsics.Watcher | None = None) -> str:
        """Take an extrinsic into the pool and return its hash.

        Raises:
            Invalid: see ``extrinsics.read`` and ``Pool.add``.
        """
        extrinsic = extrinsics.read(self.runtime, raw, self, watch)
        self.pool.add(extrinsic, self.subnets.account(extrinsic.signer)["nonce"])
        return "0x" + blake2b(raw, digest_size=32).hexdigest()

    def due_extrinsics(self) -> list[Extrinsic]:
        """What the next block will contain."""
        return self.pool.take()

    def build(self, now_ms: int, pending: list[Extrinsic]) -> tuple[Block, list[Extrinsic]]:
        """Build and seal the next block from ``pending``; returns it and the extrinsics it contains."""
        self.storage.block_number += 1
        self._records = []
        self.storage.put("Timestamp", "Now", [], now_ms)
        body = b"\x04" + bytes(self.runtime.compose_call("Timestamp", "set", {"now": now_ms}))
        included: list[bytes] = [scale.compact(len(body)) + body]
        self._at_phase("Initialization", self._begin_subnets)
        self._record({"ApplyExtrinsic": 0}, "System", "ExtrinsicSuccess", {"dispatch_info": _DISPATCH})
        done: list[Extrinsic] = []
        queue = list(pending)
        while queue:
            extrinsic = queue.pop(0)
            nonce = self.subnets.account(extrinsic.signer)["nonce"]
            if extrinsic.nonce != nonce:
                if extrinsic.nonce > nonce:
                    self.pool.give_back(extrinsic)
                elif extrinsic.watch:
                    extrinsic.watch("invalid")
                continue
            self._apply(extrinsic, len(included))
            included.append(extrinsic.raw)
            done.append(extrinsic)
            queue[:0] = self._unshielded()
        self.storage.put("System", "Events", [], self._records)
        return self._seal(included), done

    def run_as_root(self, change: Callable[[Subnets], object]) -> object:
        """Change state directly, as a developer's tool does; belongs to the newest block."""
        result = change(self.subnets)
        self.subnets.events.clear()
        return result

    def _begin_subnets(self) -> None:
        for netuid in self.subnets.netuids:
            self.weights.begin_block(netuid)

    def _at_phase(self, phase: object, work: Callable[[], None]) -> None:
        self.subnets.events.clear()
        work()
        for pallet, name, payload in self.subnets.events:
            self._record(phase, pallet, name, payload)
        self.subnets.events.clear()

    def _apply(self, extrinsic: Extrinsic, index: int) -> None:
        account = self.subnets.account(extrinsic.signer)
        account["nonce"] += 1
        self.storage.put("System", "Account", [extrinsic.signer], account)
        calls = Calls(self.subnets, self.weights, self._unshield)
        self.subnets.events.clear()
        self.storage.begin()
        outcome: tuple[str, dict[str, Any]] = ("ExtrinsicSuccess", {"dispatch_info": _DISPATCH})
        try:
            calls.dispatch(extrinsic.signer, extrinsic.call)
        except Refused as refused:
            self._undo()
            outcome = self._failed(self._error_index.get((refused.pallet, refused.name)))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            _log.warning("a call could not be performed: %r", error)
            self._undo()
            outcome = self._failed(None)
        phase = {"ApplyExtrinsic": index}
        for pallet, name, payload in self.subnets.events:
            self._record(phase, pallet, name, payload)
        self.subnets.events.clear()
        fee = {"who": extrinsic.signer, "actual_fee": 0, "tip": 0}
        self._record(phase, "TransactionPayment", "TransactionFeePaid", fee)
        self._record(phase, "System", *outcome)

    def _undo(self) -> None:
        self.storage.undo()
        self.subnets.events.clear()
        self._opened.clear()

    def _failed(self, index: tuple[int, int] | None) -> tuple[str, dict[str, Any]]:
        error: object = "Other"
        if index is not None:
            error = {"Module": {"index": index[0], "error": [index[1], 0, 0, 0]}}
        return "ExtrinsicFailed", {"dispatch_error": error, "dispatch_info": _DISPATCH}

    def _record(self, phase: object, pallet: str, name: str, payload: object) -> None:
        event: object = {pallet: {name: payload}} if payload != () else {pallet: name}
        self._records.append({"phase": phase, "event": event, "topics": []})

    def _unshield(self, blob: bytes) -> None:
        try:
            self._opened.append(self.shield.open(blob))
        except (ValueError, TypeError) as error:
            raise Refused("MevShield", "BadCiphertext") from error

    def _unshielded(self) -> list[Extrinsic]:
        found = []
        for raw in self._opened:
            try:
                found.append(extrinsics.read(self.runtime, raw, self))
            except Invalid as invalid:
                _log.warning("a shielded extrinsic was invalid: %s", invalid)
        self._opened.clear()
        return found

    def _seal(self, included: list[bytes]) -> Block:
        number = self.storage.block_number
        self.storage.put("System", "Number", [], number)
        parent = self.blocks[number - 1].hash if number else _ZERO_HASH
        digest = blake2b(json.dumps([parent, number]).encode() + b"".join(included), digest_size=32)
        block_hash = "0x" + (digest.hexdigest() if number else self.genesis_hash.hex())
        block = Block(number, block_hash, parent, tuple(included))
        self.blocks[number] = block
        self.number_by_hash[block_hash] = number
        forgotten = self.blocks.pop(number - KEPT_BLOCKS, None) if number > KEPT_BLOCKS else None
        if forgotten is not None:
            del self.number_by_hash[forgotten.hash]
        return block

    def _write_genesis(self, netuids: Iterable[int], tempo: int) -> None:
        alice = Keypair.create_from_uri("//Alice").ss58_address
        for name in _RICH:
            self.subnets.credit(Keypair.create_from_uri(f"//{name}").ss58_address, _RICH_RAO)
        self.storage.put("Sudo", "Key", [], alice)
        self.storage.put("EVMChainId", "ChainId", [], 42)
        shield_key = "0x" + self.shield.public_key.hex()
        self.storage.put("MevShield", "NextKey", [], shield_key)
        self.storage.put("MevShield", "CurrentKey", [], shield_key)
        for netuid in (0, *netuids):
            self.subnets.add_subnet(netuid, alice, alice, tempo)
        self._seal([])
