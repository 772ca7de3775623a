"""A user's side of the facilitator: login, signed jobs, event streams, as the published SDK does it.

Errors, by remedy::

    FacilitatorFault
    ├── FacilitatorAway      no answer: check the address, try again
    └── FacilitatorRefused   it said no; ``code`` is documented in docs/operate/reference.md
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from horde_agents.protocol.signed_fields import (
    Scope,
    full_request_payload,
    sign_payload,
    signed_fields_payload,
    signed_view,
)
from horde_agents.protocol.signing import Signer

_ANSWER_S: Final = 15.0


class FacilitatorFault(Exception):
    """The facilitator did not do what was asked."""


class FacilitatorAway(FacilitatorFault):
    """No answer."""


class FacilitatorRefused(FacilitatorFault):
    """The facilitator said no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({code or status})")
        self.status = status
        self.code = code


@dataclass(slots=True)
class FacilitatorClient:
    """One user at one facilitator; use through ``facilitator_client``."""

    base_url: str
    signer: Signer
    _http: aiohttp.ClientSession = field(repr=False)
    _token: str | None = field(default=None, repr=False)

    async def submit(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Sign and post a job request (keys as in wire note A.4); returns the job."""
        payload = signed_fields_payload(signed_view(job))
        signature = sign_payload(self.signer, payload, time.time_ns(), Scope.SIGNED_FIELDS)
        return await self._call("POST", "/api/v1/job-docker/", job, signature.as_headers())

    async def submit_whole(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """As ``submit``, for a job that names several ``executor_classes`` or has a ``wait_s``."""
        payload = full_request_payload(job)
        signature = sign_payload(self.signer, payload, time.time_ns(), Scope.FULL_REQUEST)
        return await self._call("POST", "/api/v1/horde/job-docker/", job, signature.as_headers())

    async def job(self, uuid: str) -> dict[str, Any]:
        """The job as it stands."""
        return await self._call("GET", f"/api/v1/jobs/{uuid}/")

    async def jobs(self, page: int = 1, page_size: int = 20) -> dict[str, Any]:
        """One page of this user's jobs, newest first."""
        return await self._call("GET", f"/api/v1/jobs/?page={page}&page_size={page_size}")

    async def cancel(self, uuid: str) -> dict[str, Any]:
        """Take a job back."""
        return await self._call("DELETE", f"/api/v1/jobs/{uuid}/")

    async def follow(self, uuid: str) -> AsyncIterator[dict[str, Any]]:
        """Every status entry from the first to the final one; a broken stream is taken up again."""
        last: str | None = None
        while True:
            try:
                async for number, entry in self._stream(uuid, last):
                    last = number
                    yield entry
                    if entry["status"] in {"completed", "failed", "rejected", "horde_failed"}:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.5)

    async def _stream(self, uuid: str, last: str | None) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        headers = {**await self._authorization(), **({"Last-Event-ID": last} if last else {})}
        url = f"{self.base_url}/api/v1/jobs/{uuid}/events"
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self._http.get(url, headers=headers, timeout=timeout) as reply:
            if reply.status != 200:
                raise _refused(reply.status, await reply.text())
            number = ""
            async for raw in reply.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    number = line[4:]
                elif line.startswith("data: "):
                    yield number, json.loads(line[6:])

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        for is_last in (False, True):
            sent = {"Content-Type": "application/json", **await self._authorization(), **(headers or {})}
            status, text = await self._exchange(method, path, data, sent)
            if status == 401 and not is_last:
                self._token = None
                continue
            if not 200 <= status < 300:
                raise _refused(status, text)
            answer: dict[str, Any] = json.loads(text)
            return answer
        raise AssertionError("unreachable")

    async def _authorization(self) -> dict[str, str]:
        if self._token is None:
            _, text = await self._exchange("GET", "/auth/nonce", None, {})
            nonce = json.loads(text)["nonce"]
            signature = self.signer.sign(nonce.encode()).hex()
            login = json.dumps(
                {"hotkey": self.signer.hotkey, "signature": signature, "nonce": nonce}
            ).encode()
            status, text = await self._exchange(
                "POST", "/auth/login", login, {"Content-Type": "application/json"}
            )
            if status != 200:
                raise _refused(status, text)
            self._token = json.loads(text)["token"]
        return {"Authorization": f"Bearer {self._token}"}

    async def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        try:
            async with self._http.request(
                method, self.base_url + path, data=data, headers=headers, timeout=timeout
            ) as reply:
                return reply.status, await reply.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FacilitatorAway(f"No answer from the facilitator at {self.base_url}: {error!r}") from error


@asynccontextmanager
async def facilitator_client(base_url: str, signer: Signer) -> AsyncIterator[FacilitatorClient]:
    """A client whose connections end with the block."""
    async with aiohttp.ClientSession() as http:
        yield FacilitatorClient(base_url.rstrip("/"), signer, http)


def _refused(status: int, text: str) -> FacilitatorRefused:
    try:
        body = json.loads(text)
        return FacilitatorRefused(
            status, str(body.get("code", "")), str(body.get("error") or body.get("detail"))
        )
    except (ValueError, AttributeError):
        return FacilitatorRefused(status, "", text[:200])
