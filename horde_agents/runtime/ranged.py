"""Answers a request for bytes that only grow: whole, in part, or nothing new."""

from typing import Protocol

from aiohttp import web


class Part(Protocol):
    """Bytes ``start`` up to but excluding ``end`` of ``total``; ``status`` is 200, 206 or 416."""

    @property
    def status(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def total(self) -> int: ...


def ranged(content: bytes, part: Part, content_type: str) -> web.Response:
    """The answer; one that is whole may be packed."""
    if part.status == 416:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{part.total}"})
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{part.total}"
    response = web.Response(status=part.status, body=content[part.start : part.end], headers=headers)
    if part.status == 200:
        response.enable_compression()
    return response
