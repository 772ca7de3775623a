"""The node's JSON-RPC methods, as stock SDKs, btcli and Polkadot tools call them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from horde_agents.devchain.chain import Block
from horde_agents.devchain.extrinsics import Invalid
from horde_agents.devchain.metadata import SPEC_VERSION, SS58_FORMAT, TRANSACTION_VERSION
from horde_agents.devchain.node import Node
from horde_agents.devchain.subnets import Refused

Push = Callable[[str, str, object], None]
Params = list[Any]

_INVALID_TRANSACTION: Final = 1010
_METHOD_NOT_FOUND: Final = -32601
_INVALID_PARAMS: Final = -32602
_MAX_KEYS: Final = 1000
_MAX_BLOCKS_AT_ONCE: Final = 1000
_ids = count(1)


class RpcError(Exception):
    """An error answer; ``data`` is the node's detail."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


@dataclass(slots=True)
class Connection:
    """One client: its calls and its subscriptions. ``push`` sends a notification."""

    node: Node
    push: Push
    _ends: dict[str, Callable[[], None]] = field(default_factory=dict)

    def call(self, method: str, params: Params) -> object:
        """Answer one call.

        Raises:
            RpcError: unknown method, wrong parameters, or the pool's refusal.
        """
        handler = self._methods().get(method)
        if handler is None:
            raise RpcError(_METHOD_NOT_FOUND, f"Method not found: {method:.80}")
        try:
            return handler(*params)
        except Invalid as invalid:
            raise RpcError(_INVALID_TRANSACTION, "Invalid Transaction", str(invalid)) from invalid
        except Refused as refused:
            raise RpcError(_INVALID_PARAMS, f"The chain refuses: {refused}") from refused
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise RpcError(_INVALID_PARAMS, f"Invalid params: {error!s:.200}") from error

    def close(self) -> None:
        """End every subscription."""
        for end in self._ends.values():
            end()
        self._ends.clear()

    def _methods(self) -> dict[str, Callable[..., object]]:
        return (
            self._chain_methods() | self._state_methods() | self._system_methods() | self._developer_methods()
        )

    def _chain_methods(self) -> dict[str, Callable[..., object]]:
        chain = self.node.chain
        return {
            "chain_getBlockHash": self._block_hash,
            "chain_getHead": lambda: chain.head.hash,
            "chain_getFinalizedHead": lambda: chain.head.hash,
            "chain_getFinalisedHead": lambda: chain.head.hash,
            "chain_getHeader": self._header,
            "chain_getBlock": self._block,
            "chain_getRuntimeVersion": _runtime_version,
            "chain_subscribeNewHeads": lambda: self._subscribe_heads("chain_newHead"),
            "chain_subscribeNewHead": lambda: self._subscribe_heads("chain_newHead"),
            "chain_subscribeFinalizedHeads": lambda: self._subscribe_heads("chain_finalizedHead"),
            "chain_unsubscribeNewHeads": self._unsubscribe,
            "chain_unsubscribeNewHead": self._unsubscribe,
            "chain_unsubscribeFinalizedHeads": self._unsubscribe,
            "author_submitExtrinsic": lambda raw: chain.submit(_bytes(raw)),
            "author_submitAndWatchExtrinsic": self._watch_extrinsic,
            "author_unwatchExtrinsic": self._unsubscribe,
        }

    def _state_methods(self) -> dict[str, Callable[..., object]]:
        return {
            "state_getRuntimeVersion": _runtime_version,
            "state_getMetadata": lambda _at=None: _hex(self.node.chain.metadata_v14),
            "state_call": self._view,
            "state_getStorage": self._storage,
            "state_getStorageAt": self._storage,
            "state_queryStorageAt": self._storages,
            "state_getKeysPaged": self._keys,
        }

    def _system_methods(self) -> dict[str, Callable[..., object]]:
        properties = {"ss58Format": SS58_FORMAT, "tokenDecimals": 9, "tokenSymbol": "TAO"}
        health = {"peers": 0, "isSyncing": False, "shouldHavePeers": False}
        return {
            "account_nextIndex": self.node.chain.next_nonce,
            "system_accountNextIndex": self.node.chain.next_nonce,
            "system_chain": lambda: "Bittensor devchain",
            "system_name": lambda: "horde devchain",
            "system_version": lambda: "1",
            "system_chainType": lambda: "Development",
            "system_properties": lambda: properties,
            "system_health": lambda: health,
            "rpc_methods": lambda: {"methods": sorted(self._methods())},
        }

    def _developer_methods(self) -> dict[str, Callable[..., object]]:
        return {
            "dev_newBlock": self._new_blocks,
            "dev_register": lambda *arguments: self.node.change("register", list(arguments)),
            "dev_setStake": lambda *arguments: self.node.change("setStake", list(arguments)),
            "dev_setStorage": lambda *arguments: self.node.change("setStorage", list(arguments)),
        }

    def _block_hash(self, number: int | str | None = None) -> str | None:
        if number is None:
            return self.node.chain.head.hash
        wanted = int(number, 16) if isinstance(number, str) else number
        block = self.node.chain.blocks.get(wanted)
        return block.hash if block else None

    def _header(self, block_hash: str | None = None) -> dict[str, Any] | None:
        block = self._found(block_hash)
        return block.header() if block else None

    def _block(self, block_hash: str | None = None) -> dict[str, Any] | None:
        block = self._found(block_hash)
        if block is None:
            return None
        body = [_hex(raw) for raw in block.extrinsics]
        return {"block": {"header": block.header(), "extrinsics": body}, "justifications": None}

    def _found(self, block_hash: str | None) -> Block | None:
        chain = self.node.chain
        if block_hash is None:
            return chain.head
        number = chain.number_by_hash.get(block_hash)
        return None if number is None else chain.blocks[number]

    def _number(self, block_hash: str | None) -> int:
        block = self._found(block_hash)
        if block is None:
            raise ValueError(f"unknown block {block_hash!s:.70}: State already discarded")
        return block.number

    def _view(self, name: str, raw: str | None, block_hash: str | None = None) -> str | None:
        chain = self.node.chain
        with chain.storage.as_of(self._number(block_hash)):
            return _hex(chain.views.call(name, _bytes(raw or "0x")))

    def _storage(self, key: str, block_hash: str | None = None) -> str | None:
        return _hex_or_none(self.node.chain.storage.raw(_bytes(key), self._number(block_hash)))

    def _storages(self, keys: list[str], block_hash: str | None = None) -> list[dict[str, Any]]:
        number = self._number(block_hash)
        changes = [[key, _hex_or_none(self.node.chain.storage.raw(_bytes(key), number))] for key in keys]
        return [{"block": self.node.chain.blocks[number].hash, "changes": changes}]

    def _keys(
        self, prefix: str, limit: int, after: str | None = None, block_hash: str | None = None
    ) -> list[str]:
        storage, number = self.node.chain.storage, self._number(block_hash)
        found: list[str] = []
        for key in storage.keys(_bytes(prefix), _bytes(after) if after else None):
            if len(found) >= min(limit, _MAX_KEYS):
                break
            if storage.raw(key, number) is not None:
                found.append(_hex(key))
        return found

    def _subscribe_heads(self, name: str) -> str:
        subscription = f"heads-{next(_ids)}"

        def tell(block: Block) -> None:
            self.push(name, subscription, block.header())

        self.node.heads.add(tell)
        self._ends[subscription] = lambda: self.node.heads.discard(tell)
        tell(self.node.chain.head)
        return subscription

    def _watch_extrinsic(self, raw: str) -> str:
        subscription = f"extrinsic-{next(_ids)}"
        self.node.chain.submit(
            _bytes(raw), lambda status: self.push("author_extrinsicUpdate", subscription, status)
        )
        return subscription

    def _unsubscribe(self, subscription: str) -> bool:
        end = self._ends.pop(subscription, None)
        if end is not None:
            end()
        return True

    def _new_blocks(self, number: int = 1) -> str:
        for _ in range(min(number, _MAX_BLOCKS_AT_ONCE)):
            self.node.new_block()
        return self.node.chain.head.hash


def _runtime_version(_at: str | None = None) -> dict[str, Any]:
    return {
        "specName": "node-subtensor",
        "implName": "node-subtensor",
        "authoringVersion": 1,
        "specVersion": SPEC_VERSION,
        "implVersion": 1,
        "apis": [],
        "transactionVersion": TRANSACTION_VERSION,
        "stateVersion": 1,
    }


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _hex_or_none(raw: bytes | None) -> str | None:
    return None if raw is None else _hex(raw)
