"""Logins: single-use nonces, tokens by HMAC, and who may submit (wire notes A.2)."""

import base64
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.protocol.rest_api import Refused
from horde_agents.protocol.signing import verify
from horde_agents.runtime import clock
from horde_agents.store import access, facts, nonces

SUBMIT: Final = "submit"
_RETRY_S: Final = 30.0
_LIST_FRESH_S: Final = 1.0
_MOST_READ: Final = 4096
_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


@dataclass(slots=True)
class Logins:
    """Issues and checks tokens; nonces are stateless until they are used."""

    parts: FacilitatorParts
    _key: bytes = field(default=b"", repr=False)
    _issued: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False)
    _listed: dict[str, access.Entry] = field(default_factory=dict)
    _listed_s: float = float("-inf")
    #: What tokens of ours say, because each request asks twice.
    _read: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)

    async def load(self) -> None:
        """Take up the token key, made once."""

        async def unit(connection: AsyncConnection) -> str:
            return await facts.get_or_make(connection, "token_key", lambda: secrets.token_hex(32))

        self._key = bytes.fromhex(await self.parts.store.writer.run(unit))

    def nonce(self) -> str:
        """A fresh nonce: random, dated, authenticated."""
        text = f"{secrets.token_hex(16)}:{int(clock.now().timestamp())}"
        return f"{text}:{self._mac(text)}"

    async def login(self, body: dict[str, Any]) -> str:
        """Check a signed nonce and return a token; the identical login within 30 s gets the same one.

        Raises:
            Refused: malformed, a nonce that is not ours, used or expired, or a wrong signature.
        """
        hotkey, signature, nonce = (_text(body, name) for name in ("hotkey", "signature", "nonce"))
        now = clock.now()
        retry = self._issued.get(f"{hotkey}:{nonce}:{signature}")
        if retry is not None and now.timestamp() - retry[0] <= _RETRY_S:
            return retry[1]
        self._check_nonce(nonce)
        raw = _from_bare_hex(signature)
        if not verify(hotkey, nonce.encode(), raw):
            raise Refused("auth.signature_invalid", "Invalid signature")
        await self._check_allowed(hotkey, "auth.hotkey_not_allowed")
        expires_at = now + timedelta(seconds=self.parts.settings.nonce_life_s)
        is_fresh = await self.parts.store.writer.run(lambda c: nonces.use(c, nonce, expires_at, now))
        if not is_fresh:
            raise Refused("auth.nonce_invalid", "Invalid nonce")
        token = self._token(hotkey)
        self._remember(f"{hotkey}:{nonce}:{signature}", now.timestamp(), token)
        return token

    async def who(self, authorization: str | None) -> str:
        """The hotkey that a request's ``Authorization`` header vouches for.

        Raises:
            Refused: none, or any unusable token, in the words that make stock clients log in again.
        """
        if not authorization:
            message = "Authentication credentials were not provided."
            raise Refused("auth.missing", message, headers=_CHALLENGE)
        hotkey = self.vouched(authorization)
        if hotkey is None:
            raise Refused("auth.token_expired", "Token expired.", headers=_CHALLENGE)
        await self._check_allowed(hotkey, "auth.hotkey_not_allowed")
        return hotkey

    def vouched(self, authorization: str) -> str | None:
        """The hotkey of a usable token, whether or not it may submit."""
        token = authorization.removeprefix("Bearer ").strip()
        return self._hotkey(token) if token.isascii() else None

    def _check_nonce(self, nonce: str) -> None:
        text, _, mac = nonce.rpartition(":")
        stamp = text.rpartition(":")[2]
        if not hmac.compare_digest(mac.encode(), self._mac(text).encode()) or not stamp.isdigit():
            raise Refused("auth.nonce_invalid", "Invalid nonce")
        if clock.now().timestamp() - int(stamp) > self.parts.settings.nonce_life_s:
            raise Refused("auth.nonce_invalid", "Nonce expired or not found")

    async def _check_allowed(self, hotkey: str, code: str) -> None:
        if clock.monotonic_s() - self._listed_s > _LIST_FRESH_S:
            await self._read_list()
        entry = self._listed.get(hotkey)
        if not (entry.allowed if entry else self.parts.settings.allow_unlisted_hotkeys):
            raise Refused(code, "Hotkey not allowed")

    async def _read_list(self) -> None:
        """The allow and deny list; what an operator changes counts within a second."""
        now_s = clock.monotonic_s()
        async with self.parts.store.reading() as connection:
            self._listed = await access.entries(connection, SUBMIT, clock.now())
        self._listed_s = now_s

    def _token(self, hotkey: str) -> str:
        expires_at = clock.now().timestamp() + self.parts.settings.token_life_s
        body = base64.urlsafe_b64encode(json.dumps([hotkey, expires_at]).encode()).decode()
        return f"{body}.{self._mac(body)}"

    def _hotkey(self, token: str) -> str | None:
        hotkey, expires_at = self._read.get(token) or self._checked(token)
        return hotkey if clock.now().timestamp() < expires_at else None

    def _checked(self, token: str) -> tuple[str, float]:
        """Who a token vouches for, and until when; one that is not ours vouches for nobody."""
        body, _, mac = token.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            return "", 0.0
        hotkey, expires_at = json.loads(base64.urlsafe_b64decode(body))
        if len(self._read) >= _MOST_READ:
            self._read.clear()
        self._read[token] = str(hotkey), float(expires_at)
        return self._read[token]

    def _mac(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    def _remember(self, login: str, at_s: float, token: str) -> None:
        self._issued = {key: old for key, old in self._issued.items() if at_s - old[0] <= _RETRY_S}
        self._issued[login] = (at_s, token)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused("auth.malformed", f"Missing {name}")
    return value


def _from_bare_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""
