"""The chain's domain: accounts, subnets, neurons, stake, axons, as functions over its storage."""

from dataclasses import dataclass, field
from typing import Any, Final

from horde_agents.devchain.storage import Storage

PALLET: Final = "SubtensorModule"
RAO: Final = 1_000_000_000
_MAX_UIDS: Final = 256
_MAX_VALIDATORS: Final = 64
_POOL_RAO: Final = 1000 * RAO
_BURN_RAO: Final = RAO // 1000
_IDENTITY_FIELDS: Final = (
    "subnet_name",
    "github_repo",
    "subnet_contact",
    "subnet_url",
    "discord",
    "description",
    "logo_url",
    "additional",
)


class Refused(Exception):
    """A call fails with an error that the runtime's metadata names: (pallet, error)."""

    def __init__(self, pallet: str, name: str) -> None:
        super().__init__(f"{pallet}.{name}")
        self.pallet = pallet
        self.name = name


@dataclass(slots=True)
class Subnets:
    """Everything registered; ``events`` collects what the current extrinsic made happen."""

    storage: Storage
    netuids: list[int] = field(default_factory=list)
    events: list[tuple[str, str, object]] = field(default_factory=list)

    def read(self, item: str, *params: object) -> Any:  # noqa: ANN401  (whatever the item holds)
        """A value of the subtensor pallet."""
        return self.storage.get(PALLET, item, *params)

    def write(self, item: str, params: list[object], value: object) -> None:
        """Set a value of the subtensor pallet."""
        self.storage.put(PALLET, item, params, value)

    def happened(self, name: str, payload: object, pallet: str = PALLET) -> None:
        """Record an event."""
        self.events.append((pallet, name, payload))

    def account(self, address: str) -> dict[str, Any]:
        """Nonce and balance."""
        account: dict[str, Any] = self.storage.get("System", "Account", address)
        return account

    def credit(self, address: str, rao: int) -> None:
        """Add to a balance, or take from it.

        Raises:
            Refused: not enough is there.
        """
        account = self.account(address)
        account["data"]["free"] += rao
        if account["data"]["free"] < 0:
            raise Refused("Balances", "InsufficientBalance")
        account["providers"] = 1
        self.storage.put("System", "Account", [address], account)

    def add_subnet(self, netuid: int, owner_coldkey: str, owner_hotkey: str, tempo: int) -> None:
        """Open a subnet; subnet 0 is the root."""
        symbol = "τ" if netuid == 0 else "μ"
        identity = dict.fromkeys(_IDENTITY_FIELDS, "0x") | {"subnet_name": "0x" + self.name(netuid).hex()}
        values: dict[str, object] = {
            "NetworksAdded": True,
            "Tempo": tempo,
            "SubnetworkN": 0,
            "MaxAllowedUids": _MAX_UIDS,
            "MaxAllowedValidators": _MAX_VALIDATORS,
            "TokenSymbol": "0x" + symbol.encode().hex(),
            "Burn": _BURN_RAO,
            "SubnetOwner": owner_coldkey,
            "SubnetOwnerHotkey": owner_hotkey,
            "WeightsSetRateLimit": 0,
            "MinAllowedWeights": 0,
            "CommitRevealWeightsEnabled": False,
            "RevealPeriodEpochs": 1,
            "ServingRateLimit": 0,
            "NetworkRegisteredAt": self.storage.block_number,
            "LastUpdate": [],
            "ValidatorPermit": [],
            "Active": [],
            "SubnetTAO": _POOL_RAO,
            "SubnetAlphaIn": _POOL_RAO,
            "SubnetMechanism": 1 if netuid else 0,
            "FirstEmissionBlockNumber": 1,
            "SubnetIdentitiesV3": identity,
        }
        for item, value in values.items():
            self.write(item, [netuid], value)
        if netuid:
            self.netuids.append(netuid)
        self.write("TotalNetworks", [], len(self.netuids) + 1)

    def name(self, netuid: int) -> bytes:
        """What the subnet is called."""
        return f"devnet-{netuid}".encode()

    def exists(self, netuid: int) -> bool:
        """True for an open subnet."""
        return bool(self.read("NetworksAdded", netuid))

    def uid(self, netuid: int, hotkey: str) -> int | None:
        """The UID of a hotkey, or ``None``."""
        uid: int | None = self.read("Uids", netuid, hotkey)
        return uid

    def registered_uid(self, netuid: int, hotkey: str, error: str = "HotKeyNotRegisteredInSubNet") -> int:
        """The UID of a hotkey.

        Raises:
            Refused: it has none.
        """
        uid = self.uid(netuid, hotkey)
        if uid is None:
            raise Refused(PALLET, error)
        return uid

    def hotkeys(self, netuid: int) -> list[str]:
        """All hotkeys of a subnet by UID."""
        return [self.read("Keys", netuid, uid) for uid in range(self.read("SubnetworkN", netuid))]

    def register(self, netuid: int, hotkey: str, coldkey: str) -> int:
        """Give a hotkey the next UID.

        Raises:
            Refused: no such subnet, registered already, or the subnet is full.
        """
        if not self.exists(netuid):
            raise Refused(PALLET, "SubnetNotExists")
        if self.uid(netuid, hotkey) is not None:
            raise Refused(PALLET, "HotKeyAlreadyRegisteredInSubNet")
        uid: int = self.read("SubnetworkN", netuid)
        if uid >= self.read("MaxAllowedUids", netuid):
            raise Refused(PALLET, "NoNeuronIdAvailable")
        self.write("Uids", [netuid, hotkey], uid)
        self.write("Keys", [netuid, uid], hotkey)
        self.write("SubnetworkN", [netuid], uid + 1)
        self.write("Owner", [hotkey], coldkey)
        self.write("IsNetworkMember", [hotkey, netuid], True)
        self.write("BlockAtRegistration", [netuid, uid], self.storage.block_number)
        owned = list(self.read("OwnedHotkeys", coldkey))
        if hotkey not in owned:
            self.write("OwnedHotkeys", [coldkey], [*owned, hotkey])
        for item, value in (("LastUpdate", 0), ("ValidatorPermit", False), ("Active", True)):
            self.write(item, [netuid], [*self.read(item, netuid), value])
        self.happened("NeuronRegistered", (netuid, uid, hotkey))
        return uid

    def stake(self, hotkey: str, netuid: int) -> int:
        """A hotkey's stake in rao."""
        return int(self.read("TotalHotkeyAlpha", hotkey, netuid))

    def add_stake(self, hotkey: str, netuid: int, rao: int) -> None:
        """Add to a hotkey's stake."""
        self.write("TotalHotkeyAlpha", [hotkey, netuid], self.stake(hotkey, netuid) + rao)

    def axon(self, netuid: int, hotkey: str) -> dict[str, int]:
        """Where a hotkey listens; zeros when it serves none."""
        names = ("block", "version", "ip", "port", "ip_type", "protocol", "placeholder1", "placeholder2")
        return self.read("Axons", netuid, hotkey) or dict.fromkeys(names, 0)

    def touch(self, netuid: int, uid: int) -> None:
        """Note that a UID set or committed weights in this block."""
        updates = list(self.read("LastUpdate", netuid))
        updates[uid] = self.storage.block_number
        self.write("LastUpdate", [netuid], updates)
