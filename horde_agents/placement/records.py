"""What the shared store holds of a horde, read from and written to its keys.

::

    horde/<horde>/slots/<slot>        Slot: hardware, the UID it serves, what it does now
    horde/<horde>/members/<hotkey>    Member: a miner agent that lives; the key ends with its session
    horde/<horde>/roles/<role>        lock of keeper and choreographer; its value is who has it
    horde/<horde>/uids/<hotkey>       UidWish: what the operator wants of a UID
    horde/<horde>/pool/<class>        PoolWish: what the operator wants of a class
    horde/<horde>/reports/<class>     PoolReport: what the keeper has of a class
    horde/<horde>/dance               an operator's request for a dance now
    horde/<horde>/last_dance          the last cycle that was danced in
    horde/<horde>/main_hotkey         MainHotkey: what miners tell stock validators
    horde-history/<horde>/<instant>   MoveRecord: the moves of one transaction; not watched

Values are JSON, so that people can read them in Consul's UI. What cannot be read becomes ``Garbage``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from horde_agents.placement.coordination import Entry, Session, Snapshot

T = TypeVar("T")
KEEPER: Final = "keeper"
CHOREOGRAPHER: Final = "choreographer"

#: Bytes of one value that are read at most; what agents write is far below.
_MOST_BYTES: Final = 64 * 1024
#: Holders that one class may be wished at most.
MOST_HOLDERS: Final = 100_000
#: Values that no agent writes are taken for typing errors, whoever counts on with them.
_Uid: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
_Epoch: TypeAlias = Annotated[int, Field(ge=0, le=10**15)]
_Cycle: TypeAlias = Annotated[int, Field(ge=-1, le=10**9)]
_Count: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
_Address: TypeAlias = Annotated[str, Field(pattern=r"^[!-~]{1,300}:\d{1,5}/[0-9a-f]{64}$")]


class SlotState(StrEnum):
    """What a slot does, as last written; its owner's own store knows better."""

    VACANT = "vacant"  # no holder keeps it now
    READY = "ready"  # a holder keeps it
    LEASED = "leased"  # an attempt runs on it
    CLASHING = "clashing"  # a device of it is in another slot too; not served until that ends


@dataclass(frozen=True, slots=True)
class Slot:
    """One unit of hardware and the UID it serves; ``epoch`` grows whenever the owner changes.

    While it is vacant, ``ended`` is the standing in which its last holder ended, and ``says`` is it in words.
    ``moved_cycle`` is the cycle of its last dance, -1 before the first. ``leaving`` is why its holder is to
    end: it gets no further job.
    """

    slot_id: str
    executor_class: str
    node: str
    devices: tuple[str, ...] = ()
    owner: str = ""
    uid: _Uid | None = None
    epoch: _Epoch = 0
    state: SlotState = SlotState.VACANT
    allocation_id: str = ""
    pinned: bool = False
    job_uuid: str = ""
    moved_cycle: _Cycle = -1
    ended: str = ""
    says: str = ""
    leaving: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A living miner agent; one that may not dance keeps its slots at the turn of a cycle."""

    hotkey: str
    uid: _Uid | None
    address: _Address
    may_dance: bool = True


@dataclass(frozen=True, slots=True)
class UidWish:
    """A drained UID gets no slots and loses those it has."""

    drained: bool = False


@dataclass(frozen=True, slots=True)
class PoolWish:
    """How many holders a class shall have, -1 for all that the nodes hold; ``None`` as configured."""

    holders: Annotated[int, Field(ge=-1, le=MOST_HOLDERS)] | None = None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What the keeper has of a class: ``waiting`` holders are dispatched and not placed, ``says`` is why."""

    wanted: _Count
    holders: _Count
    waiting: _Count = 0
    says: str = ""


@dataclass(frozen=True, slots=True)
class MainHotkey:
    """The main hotkey of a cycle."""

    hotkey: str
    cycle: _Cycle


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """Moves that were made together: ``moves`` are (slot, from, to)."""

    at: str
    by: str
    why: str
    moves: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """A key that cannot be read: edited by hand, or of another version."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class HordeState:
    """All of it at one instant; ``indices`` are for check-and-set, ``roles`` say who has which role, and
    ``entries`` are what all of it was read from.
    """

    index: int = 0
    slots: Mapping[str, Slot] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    uid_wishes: Mapping[str, UidWish] = field(default_factory=dict)
    pool_wishes: Mapping[str, PoolWish] = field(default_factory=dict)
    pool_reports: Mapping[str, PoolReport] = field(default_factory=dict)
    main_hotkey: MainHotkey | None = None
    dance_wanted: bool = False
    last_dance_cycle: int = -1
    roles: Mapping[str, tuple[str, Session | None]] = field(default_factory=dict)
    garbage: tuple[Garbage, ...] = ()
    indices: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False)

    def who_has(self, role: str) -> str | None:
        """The hotkey of the miner that holds ``role`` now; none while nobody does."""
        name, session = self.roles.get(role, ("", None))
        return name if session else None

    def is_drained(self, hotkey: str) -> bool:
        """Whether an operator drains this UID."""
        wish = self.uid_wishes.get(hotkey)
        return wish is not None and wish.drained


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names of one horde."""

    horde: str

    @property
    def prefix(self) -> str:
        """What a miner watches."""
        return f"horde/{self.horde}/"

    @property
    def history(self) -> str:
        """Below it every transaction of moves."""
        return f"horde-history/{self.horde}/"

    @property
    def dance(self) -> str:
        """An operator asks for a dance."""
        return f"{self.prefix}dance"

    @property
    def last_dance(self) -> str:
        """The cycle of the last dance."""
        return f"{self.prefix}last_dance"

    @property
    def main_hotkey(self) -> str:
        """What all miners answer."""
        return f"{self.prefix}main_hotkey"

    def slot(self, slot_id: str) -> str:
        """A slot's key."""
        return f"{self.prefix}slots/{slot_id}"

    def member(self, hotkey: str) -> str:
        """A living miner's key."""
        return f"{self.prefix}members/{hotkey}"

    def role(self, name: str) -> str:
        """A role's lock."""
        return f"{self.prefix}roles/{name}"

    def uid(self, hotkey: str) -> str:
        """An operator's wish about a UID."""
        return f"{self.prefix}uids/{hotkey}"

    def pool(self, executor_class: str) -> str:
        """An operator's wish about a class."""
        return f"{self.prefix}pool/{executor_class}"

    def report(self, executor_class: str) -> str:
        """The keeper's word on a class."""
        return f"{self.prefix}reports/{executor_class}"


def as_json(record: Slot | Member | UidWish | PoolWish | PoolReport | MainHotkey | MoveRecord) -> str:
    """A record as its value."""
    # not asdict: it copies what is below, and a dance writes a thousand of them
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    return json.dumps(values, separators=(",", ":"))


_SLOT: Final = TypeAdapter(Slot)
_MEMBER: Final = TypeAdapter(Member)
_UID_WISH: Final = TypeAdapter(UidWish)
_POOL_WISH: Final = TypeAdapter(PoolWish)
_POOL_REPORT: Final = TypeAdapter(PoolReport)
_MAIN_HOTKEY: Final = TypeAdapter(MainHotkey)
_CYCLE: Final[TypeAdapter[int]] = TypeAdapter(_Cycle)
_MOVES: Final = TypeAdapter(MoveRecord)
#: What may be below a horde's prefix; a room ends with a slash.
_KNOWN: Final = frozenset(
    ("slots/", "members/", "roles/", "uids/", "pool/", "reports/", "dance", "last_dance", "main_hotkey")
)


def read_state(keys: Keys, snapshot: Snapshot, before: HordeState | None = None) -> HordeState:
    """Everything below the horde's prefix; unreadable values are listed, and as if they were not there.

    What has not changed since ``before`` is taken from there, so that a change costs what has changed.
    """
    known = before or HordeState()
    below: dict[str, dict[str, Entry]] = {}
    for key, entry in snapshot.entries.items():
        room, slash, name = key.removeprefix(keys.prefix).partition("/")
        below.setdefault(room + slash, {})[name] = entry
    garbage = [
        Garbage(f"{keys.prefix}{room}{name}", "no agent of this version knows such a key")
        for room in sorted(below.keys() - _KNOWN)
        for name in below[room]
    ]

    def read(
        room: str, adapter: TypeAdapter[T], name_field: str = "", read_before: Mapping[str, T] | None = None
    ) -> dict[str, T]:
        found = {}
        for name, entry in below.get(room, {}).items():
            same = known.entries.get(f"{keys.prefix}{room}{name}")
            if read_before and same is not None and same.value == entry.value and name in read_before:
                found[name] = read_before[name]
                continue
            try:
                found[name] = _record(adapter, entry, name, name_field)
            except ValueError as error:
                garbage.append(Garbage(f"{keys.prefix}{room}{name}", _short(error)))
        return found

    return HordeState(
        index=snapshot.index,
        slots=read("slots/", _SLOT, "slot_id", known.slots),
        members=_held(read("members/", _MEMBER, "hotkey"), below.get("members/", {}), garbage, keys),
        uid_wishes=read("uids/", _UID_WISH),
        pool_wishes=read("pool/", _POOL_WISH),
        pool_reports=read("reports/", _POOL_REPORT),
        main_hotkey=read("main_hotkey", _MAIN_HOTKEY).get(""),
        dance_wanted="dance" in below,
        last_dance_cycle=read("last_dance", _CYCLE).get("", -1),
        roles={name: (entry.value, entry.session) for name, entry in below.get("roles/", {}).items()},
        garbage=tuple(garbage),
        indices={key: entry.index for key, entry in snapshot.entries.items()},
        entries=snapshot.entries,
    )


def read_moves(snapshot: Snapshot) -> list[MoveRecord]:
    """The history, oldest first; lines that cannot be read are left out."""
    records = []
    for _, entry in sorted(snapshot.entries.items()):
        try:
            records.append(_MOVES.validate_json(entry.value))
        except ValidationError:
            continue
    return records


def given_to(slot: Slot, member: Member) -> Slot:
    """The slot under its new owner."""
    return replace(slot, owner=member.hotkey, uid=member.uid, epoch=slot.epoch + 1)


def _record(adapter: TypeAdapter[T], entry: Entry, name: str, name_field: str) -> T:
    if len(entry.value) > _MOST_BYTES:
        raise ValueError(f"it has {len(entry.value)} bytes; {_MOST_BYTES} are the most")
    record = adapter.validate_json(entry.value)
    if name_field and getattr(record, name_field) != name:
        raise ValueError(f"it names another: {getattr(record, name_field)!r:.80}")
    return record


def _held(
    members: Mapping[str, Member], entries: Mapping[str, Entry], garbage: list[Garbage], keys: Keys
) -> dict[str, Member]:
    """Those whose key a session holds: any other was written by hand, and nobody lives there."""
    ghosts = [hotkey for hotkey in members if entries[hotkey].session is None]
    garbage += [Garbage(keys.member(hotkey), "no miner's session holds it") for hotkey in ghosts]
    return {hotkey: member for hotkey, member in members.items() if hotkey not in ghosts}


def _short(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first: Any = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
