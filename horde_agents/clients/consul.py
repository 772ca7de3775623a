"""The shared store of a horde in Consul's KV: check-and-set transactions, sessions, one blocking query.

Sessions and locks go through py-consul. Transactions and listings are plain calls: of a refused transaction
py-consul does not say whether a condition failed or a right is missing, of a listing not whether keys were
kept from us.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Final

from horde_agents.clients.cluster_http import Answer, ClusterAddress
from horde_agents.clients.consul_connection import ConsulConnection
from horde_agents.placement.coordination import (
    MAX_CHANGES,
    Change,
    CoordinationAway,
    CoordinationDenied,
    Delete,
    Entry,
    Held,
    Put,
    Session,
    SessionLost,
    Snapshot,
)
from horde_agents.runtime.clock import monotonic_s

#: Consul's own least; a session lives up to twice as long (bundle note 5.1).
MIN_TTL_S: Final = 10.0
#: How long a lock stays closed after its session was lost: longer than a write is under way.
_LOCK_DELAY_S: Final = 1
_MISSING_RIGHT: Final = ("ermission denied", "ACL not found")


class ConsulCoordination:
    """``Coordination`` in Consul; ``close`` it."""

    def __init__(self, address: ClusterAddress) -> None:
        self._consul = ConsulConnection(address)

    async def close(self) -> None:
        """End the connections."""
        await self._consul.close()

    async def snapshot(self, prefix: str) -> Snapshot:
        return await self._read(prefix, {"recurse": "", "consistent": ""}, 0.0)

    async def changed(self, prefix: str, index: int, wait_s: float) -> Snapshot:
        wait = {"recurse": "", "index": str(max(index, 1)), "wait": f"{max(wait_s, 0.01) * 1000:.0f}ms"}
        asked_s = monotonic_s()
        snapshot = await self._read(prefix, wait, wait_s)
        if snapshot.index == index and monotonic_s() - asked_s < wait_s:
            # a restore from a backup ends all waiting with the state of before it, and no later wait with
            # the old index would end early
            return await self.snapshot(prefix)
        return snapshot

    async def commit(self, changes: Sequence[Change]) -> bool:
        if len(changes) > MAX_CHANGES:
            raise ValueError(f"{len(changes)} changes in one transaction; {MAX_CHANGES} are the most")
        operations = [{"KV": _operation(change)} for change in changes]
        answer = await self._consul.ask("PUT", "/v1/txn", json=operations, accept=(200, 409))
        if answer.status == 200:
            return True
        if denied := _denied(answer):
            raise CoordinationDenied(f"Consul refuses the transaction: {denied}. Check the token's policy.")
        if answer.repeated:
            raise CoordinationAway("Consul broke off in a transaction; whether it was made is not known.")
        return False

    async def open_session(self, name: str, ttl_s: float, *, ephemeral: bool) -> Session:
        behavior = "delete" if ephemeral else "release"
        # no checks: whether its owner lives is for the renewals to say, not for the health of the Consul
        # agent that happened to answer
        return Session(
            await self._consul.call(
                lambda consul: consul.session.create(
                    name, checks=[], lock_delay=_LOCK_DELAY_S, behavior=behavior, ttl=_ttl(ttl_s)
                )
            )
        )

    async def renew(self, session: Session) -> None:
        await self._consul.call(lambda consul: consul.session.renew(session))

    async def close_session(self, session: Session) -> None:
        await self._consul.call(lambda consul: consul.session.destroy(session))

    async def acquire(self, key: str, value: str, session: Session) -> bool:
        got = await self._consul.call(lambda consul: consul.kv.put(key, value.encode(), acquire=session))
        if not got and not await self._lives(session):
            raise SessionLost(f"Consul has ended session {session}")
        return bool(got)

    async def release(self, key: str, session: Session) -> None:
        _, row = await self._consul.call(lambda consul: consul.kv.get(key, consistency="consistent"))
        if row is not None and row.get("Session") == session:
            await self._consul.call(lambda consul: consul.kv.put(key, row["Value"], release=session))

    async def _lives(self, session: Session) -> bool:
        _, known = await self._consul.call(
            lambda consul: consul.session.info(session, consistency="consistent")
        )
        return known is not None

    async def _read(self, prefix: str, params: dict[str, str], wait_s: float) -> Snapshot:
        answer = await self._consul.ask(
            "GET", f"/v1/kv/{prefix}", params=params, wait_s=wait_s, accept=(200, 404)
        )
        if answer.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            raise CoordinationDenied(
                f"Consul hides keys below {prefix} from this token. Give its policy list and read there."
            )
        index = int(answer.headers.get("X-Consul-Index", "0"))
        rows = answer.body if answer.status == 200 else []
        return Snapshot(index, {row["Key"]: _entry(row) for row in rows})


def _ttl(ttl_s: float) -> int:
    return round(max(ttl_s, MIN_TTL_S))


def _entry(row: dict[str, Any]) -> Entry:
    value = binascii.a2b_base64(row["Value"] or "").decode(errors="replace")
    return Entry(value, row["ModifyIndex"], Session(row["Session"]) if row.get("Session") else None)


def _operation(change: Change) -> dict[str, object]:
    match change:
        case Put(key, value, None):
            return {"Verb": "set", "Key": key, "Value": _encoded(value)}
        case Put(key, value, index):
            return {"Verb": "cas", "Key": key, "Value": _encoded(value), "Index": index}
        case Delete(key, index):
            return {"Verb": "delete-cas", "Key": key, "Index": index}
        case Held(key, session):
            return {"Verb": "check-session", "Key": key, "Session": session}


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _denied(answer: Answer) -> str | None:
    """Consul answers 409 for a lost condition and for a missing right alike; only the words differ."""
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    return text[:300] if any(words in text for words in _MISSING_RIGHT) else None
