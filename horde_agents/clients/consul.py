"""The shared store of a horde in Consul's KV: check-and-set transactions, sessions, one blocking query.

Written over Consul's HTTP interface, because py-consul's transactions carry no token (bundle note 5.2).
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from horde_agents.clients.cluster_http import (
    Answer,
    ClusterAddress,
    ClusterHttp,
    ServerAway,
    ServerDenied,
    ServerRefused,
)
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

#: Consul's own least; a session lives up to twice as long (bundle note 5.1).
MIN_TTL_S: Final = 10.0
#: How long a lock stays closed after its session was lost: longer than a write is under way.
_LOCK_DELAY_S: Final = 1.0
_DEREGISTER_AFTER: Final = "10m"


@dataclass(frozen=True, slots=True)
class Service:
    """An agent as Consul's catalogue shows it; ``check_url`` is asked every ten seconds."""

    name: str
    service_id: str
    address: str
    port: int
    check_url: str
    meta: dict[str, str] = field(default_factory=dict)


class ConsulCoordination:
    """``Coordination`` in Consul; ``close`` it."""

    def __init__(self, address: ClusterAddress) -> None:
        self._http = ClusterHttp("Consul", address, "X-Consul-Token")

    async def close(self) -> None:
        """End the connections."""
        await self._http.close()

    async def snapshot(self, prefix: str) -> Snapshot:
        return await self._read(prefix, {"recurse": "", "consistent": ""}, 0.0)

    async def changed(self, prefix: str, index: int, wait_s: float) -> Snapshot:
        wait = {"recurse": "", "index": str(max(index, 1)), "wait": f"{max(wait_s, 0.01) * 1000:.0f}ms"}
        return await self._read(prefix, wait, wait_s)

    async def commit(self, changes: Sequence[Change]) -> bool:
        if len(changes) > MAX_CHANGES:
            raise ValueError(f"{len(changes)} changes in one transaction; {MAX_CHANGES} are the most")
        operations = [{"KV": _operation(change)} for change in changes]
        answer = await self._ask("PUT", "/v1/txn", json=operations, accept=(200, 409))
        if answer.status == 409 and (denied := _denied(answer)):
            raise CoordinationDenied(f"Consul refuses the transaction: {denied}. Check the token's policy.")
        return answer.status == 200

    async def open_session(self, name: str, ttl_s: float, *, ephemeral: bool) -> Session:
        wanted = {
            "Name": name,
            "TTL": f"{max(ttl_s, MIN_TTL_S):g}s",
            "LockDelay": f"{_LOCK_DELAY_S:g}s",
            "Behavior": "delete" if ephemeral else "release",
        }
        answer = await self._ask("PUT", "/v1/session/create", json=wanted)
        return Session(answer.body["ID"])

    async def renew(self, session: Session) -> None:
        answer = await self._ask("PUT", f"/v1/session/renew/{session}", accept=(200, 404))
        if answer.status == 404:
            raise SessionLost(f"Consul has ended session {session}")

    async def close_session(self, session: Session) -> None:
        await self._ask("PUT", f"/v1/session/destroy/{session}")

    async def acquire(self, key: str, value: str, session: Session) -> bool:
        answer = await self._ask(
            "PUT", f"/v1/kv/{key}", params={"acquire": session}, data=value.encode(), accept=(200, 500)
        )
        if answer.status == 500 and "invalid session" not in str(answer.body):
            raise CoordinationAway(f"Consul says: {str(answer.body)[:300]}")
        if answer.body is True:
            return True
        if not (await self._ask("GET", f"/v1/session/info/{session}")).body:
            raise SessionLost(f"Consul has ended session {session}")
        return False

    async def release(self, key: str, session: Session) -> None:
        known = await self._ask("GET", f"/v1/kv/{key}", params={"consistent": ""}, accept=(200, 404))
        if known.status == 200 and known.body[0].get("Session") == session:
            value = base64.b64decode(known.body[0]["Value"] or "")
            await self._ask("PUT", f"/v1/kv/{key}", params={"release": session}, data=value)

    async def register(self, service: Service) -> None:
        """Show an agent in Consul's catalogue."""
        check = {
            "HTTP": service.check_url,
            "Interval": "10s",
            "Timeout": "3s",
            "DeregisterCriticalServiceAfter": _DEREGISTER_AFTER,
        }
        body = {
            "ID": service.service_id,
            "Name": service.name,
            "Address": service.address,
            "Port": service.port,
            "Meta": service.meta,
            "Check": check,
        }
        await self._ask("PUT", "/v1/agent/service/register", json=body)

    async def deregister(self, service_id: str) -> None:
        """Take an agent out of the catalogue."""
        await self._ask("PUT", f"/v1/agent/service/deregister/{service_id}", accept=(200, 404))

    async def _read(self, prefix: str, params: dict[str, str], wait_s: float) -> Snapshot:
        answer = await self._ask("GET", f"/v1/kv/{prefix}", params=params, wait_s=wait_s, accept=(200, 404))
        index = int(answer.headers.get("X-Consul-Index", "0"))
        rows = answer.body if answer.status == 200 else []
        return Snapshot(index, {row["Key"]: _entry(row) for row in rows})

    async def _ask(self, method: str, path: str, **rest: Any) -> Answer:  # noqa: ANN401  (as ClusterHttp.ask)
        try:
            return await self._http.ask(method, path, **rest)
        except ServerAway as error:
            raise CoordinationAway(str(error)) from error
        except ServerDenied as error:
            raise CoordinationDenied(str(error)) from error
        except ServerRefused as error:
            if "ACL not found" in str(error):
                raise CoordinationDenied(f"{error}. The token has expired or was deleted.") from error
            raise CoordinationAway(str(error)) from error


def _entry(row: dict[str, Any]) -> Entry:
    value = base64.b64decode(row["Value"] or "").decode(errors="replace")
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
    body = answer.body if isinstance(answer.body, dict) else json.loads(answer.body)
    for error in body.get("Errors") or ():
        if "ermission denied" in error["What"] or "ACL not found" in error["What"]:
            return str(error["What"])[:300]
    return None
