"""What each call does; a call that is not here fails as filtered, like one a runtime does not allow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from horde_agents.devchain.subnets import PALLET, Refused, Subnets
from horde_agents.devchain.weights import Weights

Arguments = dict[str, Any]

#: The owner's setting calls of AdminUtils → the storage item they write.
_SETTINGS: Final = {
    "sudo_set_tempo": "Tempo",
    "sudo_set_weights_set_rate_limit": "WeightsSetRateLimit",
    "sudo_set_commit_reveal_weights_enabled": "CommitRevealWeightsEnabled",
    "sudo_set_commit_reveal_weights_interval": "RevealPeriodEpochs",
    "sudo_set_min_allowed_weights": "MinAllowedWeights",
    "sudo_set_max_allowed_validators": "MaxAllowedValidators",
    "sudo_set_serving_rate_limit": "ServingRateLimit",
    "sudo_set_immunity_period": "ImmunityPeriod",
    "sudo_set_weights_version_key": "WeightsVersionKey",
}
_NEW_SUBNET_RAO: Final = 1_000_000_000
_NEW_SUBNET_TEMPO: Final = 20
_MAX_COMMITMENT_FIELDS: Final = 3


@dataclass(slots=True)
class Calls:
    """Dispatches decoded calls; ``submit_encrypted`` hands what it opens to ``unshield``."""

    subnets: Subnets
    weights: Weights
    unshield: Callable[[bytes], None]

    def dispatch(self, signer: str, call: dict[str, Any], *, is_root: bool = False) -> None:
        """Perform ``call`` as ``signer``.

        Raises:
            Refused: the chain's own no.
        """
        pallet, name = call["call_module"], call["call_function"]
        arguments = {argument["name"]: argument["value"] for argument in call["call_args"]}
        if pallet == "AdminUtils" and name in _SETTINGS:
            self._set(signer, _SETTINGS[name], arguments, is_root=is_root)
            return
        handler = self._handlers().get((pallet, name))
        if handler is None:
            raise Refused("System", "CallFiltered")
        handler(signer, arguments)

    def _handlers(self) -> dict[tuple[str, str], Callable[[str, Arguments], None]]:
        own = {
            "burned_register": self._register,
            "register_limit": self._register,
            "register_network": self._register_network,
            "add_stake": self._add_stake,
            "add_stake_limit": self._add_stake,
            "serve_axon": self._serve_axon,
            "set_weights": self._set_weights,
            "set_mechanism_weights": self._set_weights,
            "commit_weights": self._commit_salted,
            "commit_mechanism_weights": self._commit_salted,
            "reveal_weights": self._reveal_salted,
            "reveal_mechanism_weights": self._reveal_salted,
            "commit_timelocked_weights": self._commit_timelocked,
            "commit_timelocked_mechanism_weights": self._commit_timelocked,
        }
        return {(PALLET, name): handler for name, handler in own.items()} | {
            ("Sudo", "sudo"): self._sudo,
            ("System", "remark"): lambda _signer, _arguments: None,
            ("Utility", "batch"): self._batch,
            ("Utility", "batch_all"): self._batch,
            ("Utility", "force_batch"): self._batch,
            ("Balances", "transfer_keep_alive"): self._transfer,
            ("Balances", "transfer_allow_death"): self._transfer,
            ("Commitments", "set_commitment"): self._set_commitment,
            ("MevShield", "submit_encrypted"): self._submit_encrypted,
        }

    def _sudo(self, signer: str, arguments: Arguments) -> None:
        if signer != self.subnets.storage.get("Sudo", "Key"):
            raise Refused("Sudo", "RequireSudo")
        self.dispatch(signer, arguments["call"], is_root=True)
        self.subnets.happened("Sudid", {"sudo_result": {"Ok": ()}}, "Sudo")

    def _batch(self, signer: str, arguments: Arguments) -> None:
        for call in arguments["calls"]:
            self.dispatch(signer, call)
        self.subnets.happened("BatchCompleted", (), "Utility")

    def _set(self, signer: str, item: str, arguments: Arguments, *, is_root: bool) -> None:
        netuid = arguments["netuid"]
        if not is_root and signer != self.subnets.read("SubnetOwner", netuid):
            raise Refused(PALLET, "NotSubnetOwner")
        value = next(value for name, value in arguments.items() if name != "netuid")
        self.subnets.write(item, [netuid], value)

    def _transfer(self, signer: str, arguments: Arguments) -> None:
        dest = arguments["dest"]
        to = dest if isinstance(dest, str) else dest["Id"]
        self.subnets.credit(signer, -arguments["value"])
        self.subnets.credit(to, arguments["value"])
        event = {"from": signer, "to": to, "amount": arguments["value"]}
        self.subnets.happened("Transfer", event, "Balances")

    def _register(self, signer: str, arguments: Arguments) -> None:
        netuid = arguments["netuid"]
        if not self.subnets.exists(netuid):
            raise Refused(PALLET, "SubnetNotExists")
        self.subnets.credit(signer, -self.subnets.read("Burn", netuid))
        self.subnets.register(netuid, arguments["hotkey"], signer)

    def _register_network(self, signer: str, arguments: Arguments) -> None:
        netuid = max(self.subnets.netuids, default=0) + 1
        self.subnets.credit(signer, -_NEW_SUBNET_RAO)
        self.subnets.add_subnet(netuid, signer, arguments["hotkey"], _NEW_SUBNET_TEMPO)
        self.subnets.register(netuid, arguments["hotkey"], signer)
        self.subnets.happened("NetworkAdded", (netuid, 1))

    def _add_stake(self, signer: str, arguments: Arguments) -> None:
        amount = arguments["amount_staked"]
        if self.subnets.read("Owner", arguments["hotkey"]) is None:
            raise Refused(PALLET, "HotKeyAccountNotExists")
        self.subnets.credit(signer, -amount)
        self.subnets.add_stake(arguments["hotkey"], arguments["netuid"], amount)

    def _serve_axon(self, signer: str, arguments: Arguments) -> None:
        subnets, netuid = self.subnets, arguments["netuid"]
        subnets.registered_uid(netuid, signer, "HotKeyNotRegisteredInNetwork")
        if arguments["ip_type"] not in {4, 6}:
            raise Refused(PALLET, "InvalidIpType")
        if not arguments["ip"]:
            raise Refused(PALLET, "InvalidIpAddress")
        now, last = subnets.storage.block_number, subnets.axon(netuid, signer)["block"]
        if last and now - last < subnets.read("ServingRateLimit", netuid):
            raise Refused(PALLET, "ServingRateLimitExceeded")
        axon = {name: value for name, value in arguments.items() if name != "netuid"} | {"block": now}
        subnets.write("Axons", [netuid, signer], axon)
        subnets.happened("AxonServed", (netuid, signer))

    def _set_weights(self, signer: str, arguments: Arguments) -> None:
        self.weights.put_plain(
            arguments["netuid"], signer, list(arguments["dests"]), list(arguments["weights"])
        )

    def _commit_salted(self, signer: str, arguments: Arguments) -> None:
        self.weights.commit_salted(arguments["netuid"], signer, str(arguments["commit_hash"]))

    def _reveal_salted(self, signer: str, arguments: Arguments) -> None:
        self.weights.reveal_salted(arguments["netuid"], signer, arguments)

    def _commit_timelocked(self, signer: str, arguments: Arguments) -> None:
        self.weights.commit_timelocked(
            arguments["netuid"],
            signer,
            _as_hex(arguments["commit"]),
            arguments["reveal_round"],
            arguments["commit_reveal_version"],
        )

    def _set_commitment(self, signer: str, arguments: Arguments) -> None:
        subnets, netuid, info = self.subnets, arguments["netuid"], arguments["info"]
        if subnets.uid(netuid, signer) is None:
            raise Refused("Commitments", "AccountNotAllowedCommit")
        if len(info["fields"]) > _MAX_COMMITMENT_FIELDS:
            raise Refused("Commitments", "TooManyFieldsInCommitmentInfo")
        now = subnets.storage.block_number
        kept = {"deposit": 0, "block": now, "info": info}
        subnets.storage.put("Commitments", "CommitmentOf", [netuid, signer], kept)
        subnets.storage.put("Commitments", "LastCommitment", [netuid, signer], now)
        subnets.happened("Commitment", {"netuid": netuid, "who": signer}, "Commitments")

    def _submit_encrypted(self, _signer: str, arguments: Arguments) -> None:
        self.unshield(bytes.fromhex(_as_hex(arguments["ciphertext"])[2:]))


def _as_hex(value: Any) -> str:  # noqa: ANN401  (the codec gives readable bytes as text)
    if isinstance(value, str):
        return value if value.startswith("0x") else "0x" + value.encode().hex()
    return "0x" + bytes(value).hex()
