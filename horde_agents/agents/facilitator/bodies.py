"""Takes in a request's body: within its time, unpacked within its size, read as one JSON object."""

import asyncio
import zlib
from typing import Any, Final

from aiohttp import web

from horde_agents.protocol.frames import read_json
from horde_agents.protocol.rest_api import Refused

#: ``zlib`` reads gzip's and its own format, and tells them apart.
_GZIP_OR_ZLIB: Final = 47
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
#: Bytes from which on parsing would keep other requests waiting.
_LARGE_BYTES: Final = 100_000


async def read_body(request: web.Request, limit_s: float, limit_bytes: int) -> tuple[dict[str, Any], str]:
    """The body as a JSON object with its key order, and as text.

    Raises:
        Refused: too slow, too large, or no JSON object in the encoding that the request names.
    """
    sent = await _sent(request, limit_s)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    plain = sent if encoding == "identity" else _unpacked(sent, encoding, limit_bytes)
    try:
        text = plain.decode()
        body = await asyncio.to_thread(read_json, text) if len(text) > _LARGE_BYTES else read_json(text)
    except ValueError as error:
        raise _malformed(str(error)) from error
    if not isinstance(body, dict):
        raise Refused("body.malformed", f"The body is a JSON {type(body).__name__}, not an object.")
    return body, text


async def _sent(request: web.Request, limit_s: float) -> bytes:
    try:
        if request.content.is_eof():  # it came with its head, and needs no clock
            return await request.read()
        async with asyncio.timeout(limit_s):
            return await request.read()
    except TimeoutError as error:
        raise Refused("body.too_slow", f"The body did not come within {limit_s:g} s.") from error
    except web.RequestPayloadError as error:
        raise _malformed(str(error)) from error


def _unpacked(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding not in _PACKED:
        raise _malformed(f"Content-Encoding {encoding!r:.40} is not known; use gzip, deflate or none")
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = unpacking.decompress(sent, limit_bytes + 1)
    except zlib.error as error:
        raise _malformed(f"it is not in {encoding}: {error}") from error
    if len(plain) > limit_bytes:
        raise Refused("body.too_large", f"The body unpacks to more than {limit_bytes} bytes.")
    if not unpacking.eof:
        raise _malformed(f"its {encoding} ends too early")
    return plain


def _malformed(why: str) -> Refused:
    return Refused("body.malformed", f"The body is no JSON, or its encoding lies: {why:.200}")
