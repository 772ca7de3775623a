"""The runtime APIs: those that matter are answered, all others with the emptiest value of their type."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bittensor_core import Runtime

from horde_agents.devchain import scale
from horde_agents.devchain.subnets import RAO, Subnets

_ONE: Final = {"bits": 1 << 32}
_PRICE: Final = RAO


@dataclass(slots=True)
class Views:
    """Answers ``state_call``."""

    runtime: Runtime
    metadata: bytes = field(repr=False)
    subnets: Subnets = field(repr=False)
    _types: dict[int, dict[str, Any]] = field(default_factory=dict)
    _apis: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        registry = json.loads(self.runtime.registry_json())["types"]
        self._types = {item["id"]: item["type"] for item in registry}
        self._apis = self.runtime.runtime_api_map()

    def call(self, name: str, raw: bytes) -> bytes:
        """The SCALE answer of one runtime API function.

        Raises:
            KeyError: the recorded runtime has no such function.
        """
        if name == "Metadata_metadata_at_version":
            wanted = int.from_bytes(raw[:4], "little")
            return b"\x01" + scale.compact(len(self.metadata)) + self.metadata if wanted == 15 else b"\x00"
        api, _, method = name.partition("_")
        shape = self._apis[api][method]
        if name == "TransactionPaymentApi_query_info":
            weight = {"ref_time": 10**8, "proof_size": 3000}
            info = {"weight": weight, "class": "Normal", "partial_fee": 0}
            return bytes(self.runtime.encode(shape["output"], info))
        answer = self._answers().get(method)
        if answer is None:
            return self._emptiest(int(shape["output"].split("::")[1]))
        return bytes(self.runtime.encode(shape["output"], answer(*self._arguments(shape["inputs"], raw))))

    def _answers(self) -> dict[str, Callable[..., object]]:
        return {
            "get_metagraph": self.metagraph,
            "get_neurons_lite": self._neurons_lite,
            "get_next_epoch_start_block": self._next_epoch_block,
            "get_all_dynamic_info": self._all_dynamic_info,
            "get_network_registration_cost": lambda: RAO,
            "account_nonce": lambda address: self.subnets.account(address)["nonce"],
            "current_alpha_price": lambda _netuid: _PRICE,
            "current_alpha_price_all": lambda: [
                {"netuid": netuid, "price": _PRICE} for netuid in (0, *self.subnets.netuids)
            ],
        }

    def _arguments(self, inputs: list[tuple[str, str]], raw: bytes) -> list[Any]:
        kinds = [kind for _, kind in inputs]
        if not kinds:
            return []
        if len(kinds) == 1:
            return [self.runtime.decode(kinds[0], raw)]
        return list(self.runtime.decode(f"({', '.join(kinds)})", raw))

    def metagraph(self, netuid: int) -> dict[str, Any] | None:
        """The metagraph as the runtime gives it."""
        subnets = self.subnets
        if not subnets.exists(netuid):
            return None
        read, hotkeys = subnets.read, subnets.hotkeys(netuid)
        stakes = [subnets.stake(hotkey, netuid) for hotkey in hotkeys]
        known = {
            **self._subnet_facts(netuid),
            "name": list(subnets.name(netuid)),
            "symbol": list("μ".encode()),
            "block": subnets.storage.block_number,
            "last_step": read("LastEpochBlock", netuid),
            "blocks_since_last_step": read("BlocksSinceLastStep", netuid),
            "weights_rate_limit": read("WeightsSetRateLimit", netuid),
            "num_uids": len(hotkeys),
            "max_uids": read("MaxAllowedUids", netuid),
            "max_validators": read("MaxAllowedValidators", netuid),
            "registration_allowed": True,
            "pow_registration_allowed": False,
            "commit_reveal_weights_enabled": read("CommitRevealWeightsEnabled", netuid),
            "commit_reveal_period": read("RevealPeriodEpochs", netuid),
            "liquid_alpha_enabled": False,
            "burn": read("Burn", netuid),
            "alpha_out": sum(stakes),
            "identity": None,
            "hotkeys": hotkeys,
            "coldkeys": [read("Owner", hotkey) for hotkey in hotkeys],
            "identities": [None] * len(hotkeys),
            "axons": [subnets.axon(netuid, hotkey) for hotkey in hotkeys],
            "active": [True] * len(hotkeys),
            "validator_permit": list(read("ValidatorPermit", netuid)),
            "last_update": list(read("LastUpdate", netuid)),
            "block_at_registration": [
                read("BlockAtRegistration", netuid, uid) for uid in range(len(hotkeys))
            ],
            "alpha_stake": stakes,
            "total_stake": stakes,
            "incentives": _padded(read("Incentive", netuid), len(hotkeys)),
            "dividends": _padded(read("Dividends", netuid), len(hotkeys)),
            "tao_dividends_per_hotkey": [],
            "alpha_dividends_per_hotkey": [],
        }
        return self._completed("Metagraph", known, len(hotkeys))

    def _subnet_facts(self, netuid: int) -> dict[str, Any]:
        read = self.subnets.read
        return {
            "netuid": netuid,
            "owner_hotkey": read("SubnetOwnerHotkey", netuid),
            "owner_coldkey": read("SubnetOwner", netuid),
            "network_registered_at": read("NetworkRegisteredAt", netuid),
            "tempo": read("Tempo", netuid),
            "moving_price": _ONE,
            "tao_in": read("SubnetTAO", netuid),
            "alpha_in": read("SubnetAlphaIn", netuid),
        }

    def _neurons_lite(self, netuid: int) -> list[dict[str, Any]]:
        graph = self.metagraph(netuid)
        if graph is None:
            return []
        no_prometheus = dict.fromkeys(("block", "version", "ip", "port", "ip_type"), 0)
        zeros = dict.fromkeys(
            ("rank", "emission", "consensus", "trust", "validator_trust", "pruning_score"), 0
        )
        return [
            {
                **zeros,
                "hotkey": hotkey,
                "coldkey": graph["coldkeys"][uid],
                "uid": uid,
                "netuid": netuid,
                "active": True,
                "axon_info": graph["axons"][uid],
                "prometheus_info": no_prometheus,
                "stake": [(graph["coldkeys"][uid], graph["alpha_stake"][uid])],
                "incentive": graph["incentives"][uid],
                "dividends": graph["dividends"][uid],
                "last_update": graph["last_update"][uid],
                "validator_permit": graph["validator_permit"][uid],
            }
            for uid, hotkey in enumerate(graph["hotkeys"])
        ]

    def _next_epoch_block(self, netuid: int) -> int:
        return int(self.subnets.read("LastEpochBlock", netuid)) + int(self.subnets.read("Tempo", netuid))

    def _all_dynamic_info(self) -> list[dict[str, Any] | None]:
        return [self._dynamic_info(netuid) for netuid in range(max(self.subnets.netuids, default=0) + 1)]

    def _dynamic_info(self, netuid: int) -> dict[str, Any] | None:
        if not self.subnets.exists(netuid):
            return None
        known = {
            **self._subnet_facts(netuid),
            "subnet_name": list(self.subnets.name(netuid)),
            "token_symbol": list("μ".encode()),
            "subnet_identity": None,
        }
        return self._completed("DynamicInfo", known, 0)

    def _completed(self, type_name: str, known: dict[str, Any], rows: int) -> dict[str, Any]:
        """``known`` with a zero, or ``rows`` of them, for every field of the type that it lacks."""
        shape = next(t for t in self._types.values() if (t.get("path") or [""])[-1] == type_name)
        for each in shape["def"]["composite"]["fields"]:
            if each["name"] not in known:
                is_list = "sequence" in self._types[each["type"]]["def"]
                known[each["name"]] = [0] * rows if is_list else 0
        return known

    def _emptiest(self, type_id: int) -> bytes:
        """SCALE bytes of the emptiest value: no item, zero, the first variant."""
        shape = self._types[type_id]["def"]
        if "primitive" in shape:
            return _empty_primitive(shape["primitive"])
        if "compact" in shape or "sequence" in shape:
            return b"\x00"
        if "array" in shape:
            return self._emptiest(shape["array"]["type"]) * int(shape["array"]["len"])
        if "tuple" in shape:
            return b"".join(self._emptiest(each) for each in shape["tuple"])
        if "variant" in shape:
            first = shape["variant"]["variants"][0]
            return bytes([first["index"]]) + self._emptiest_fields(first)
        return self._emptiest_fields(shape["composite"])

    def _emptiest_fields(self, holder: dict[str, Any]) -> bytes:
        return b"".join(self._emptiest(each["type"]) for each in holder.get("fields", ()))


def _empty_primitive(name: str) -> bytes:
    if name in {"bool", "str"}:
        return b"\x00"
    return bytes(4) if name == "char" else bytes(int(name[1:]) // 8)


def _padded(values: Any, length: int) -> list[int]:  # noqa: ANN401  (a decoded vector)
    return (list(values) + [0] * length)[:length]
