"""Reads a validator's HTTP endpoints, signing as btauth/1 where a key is given.

Errors, by remedy::

    ValidatorApiFault
    ├── ValidatorAway      no answer, or none that can be read: check the address, try again
    └── ValidatorRefused   it said no; ``code`` is documented in docs/operate/validator-api.md
"""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from horde_agents.protocol.btauth import Asked, sign
from horde_agents.protocol.signing import Signer, is_hotkey

#: Open to anybody, and says in this header whose API it is.
_OPEN_PATH: Final = "/api/v1/openapi.json"
_RECEIVER_HEADER: Final = "X-Horde-Hotkey"
_ANSWER_S: Final = 30.0
_MOST_BYTES: Final = 64 * 1024 * 1024


class ValidatorApiFault(Exception):
    """The validator did not tell what it was asked."""


class ValidatorAway(ValidatorApiFault):
    """No answer."""


class ValidatorRefused(ValidatorApiFault):
    """The validator said no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({code or status})")
        self.status = status
        self.code = code


@dataclass(slots=True)
class ValidatorApi:
    """One validator; ``validator_hotkey`` is whom requests are signed for, else whom it says it is."""

    base_url: str
    signer: Signer | None
    validator_hotkey: str
    _http: aiohttp.ClientSession = field(repr=False)

    async def get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The answer at ``path``; what is ``None`` in ``query`` is not asked.

        Raises:
            ValidatorApiFault: no answer, or refused.
        """
        asked = {name: str(value) for name, value in (query or {}).items() if value is not None}
        url = URL(self.base_url.rstrip("/") + path).with_query(asked)
        headers: dict[str, str] = {}
        if self.signer is not None:
            receiver = self.validator_hotkey or await self._who_it_is()
            headers = sign(self.signer, Asked("GET", url.raw_path_qs), receiver, time.time_ns())
        _, body = await self._fetch(url, headers)
        return body

    async def _who_it_is(self) -> str:
        headers, _ = await self._fetch(URL(self.base_url.rstrip("/") + _OPEN_PATH), {})
        told = headers.get(_RECEIVER_HEADER, "")
        if not is_hotkey(told):
            raise ValidatorAway(f"What answers at {self.base_url} does not say whose API it is; name it.")
        self.validator_hotkey = told
        return told

    async def _fetch(self, url: URL, headers: Mapping[str, str]) -> tuple[Mapping[str, str], dict[str, Any]]:
        try:
            async with self._http.get(url, headers=headers, allow_redirects=False) as reply:
                text = await _bounded(reply)
                if reply.status != 200:
                    raise _refused(reply.status, text)
                return reply.headers, _object(text)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise ValidatorAway(f"No answer from the validator at {self.base_url}: {why}.") from error
        except ValueError as error:
            raise ValidatorAway(f"What answers at {self.base_url} is no validator's API: {error}.") from error


@asynccontextmanager
async def validator_api(
    base_url: str, signer: Signer | None = None, validator_hotkey: str = ""
) -> AsyncIterator[ValidatorApi]:
    """A client that lasts for the block."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield ValidatorApi(base_url, signer, validator_hotkey, http)


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for chunk in reply.content.iter_chunked(65_536):
        text += chunk
        if len(text) > _MOST_BYTES:
            raise ValueError(f"the answer has more than {_MOST_BYTES} bytes")
    return bytes(text)


def _object(text: bytes) -> dict[str, Any]:
    body = json.loads(text)
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004  (what a peer sent, not a caller's type)
    return body


def _refused(status: int, text: bytes) -> ValidatorRefused:
    try:
        body = _object(text)
    except ValueError:
        body = {}
    message = str(body.get("error") or f"The validator answered {status}.")
    return ValidatorRefused(status, str(body.get("code", "")), message[:500])
