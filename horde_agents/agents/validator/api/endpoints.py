"""What one path of the API is: its parameters, the model of its answer, and the function that reads it."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from horde_agents.agents.validator.api.parameters import Parameter, read_all
from horde_agents.agents.validator.api.sources import Ask, Reader, Sources

Reading: TypeAlias = Callable[[Sources, Ask], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path; an open one is read by anybody who can reach the port."""

    path: str
    summary: str
    answer: type[BaseModel]
    read: Reading
    in_path: tuple[Parameter, ...] = ()
    in_query: tuple[Parameter, ...] = ()


def ask_of(endpoint: Endpoint, request: web.Request, reader: Reader) -> Ask:
    """The request's parameters, read; raises ``ApiRefused``."""
    given = {name: request.query.getall(name) for name in request.query}
    in_path = {name: [text] for name, text in request.match_info.items()}
    values: dict[str, Any] = read_all(given, endpoint.in_query) | read_all(in_path, endpoint.in_path)
    return Ask(reader, values)


def answer_of(request: web.Request, model: BaseModel) -> web.Response:
    """The model as JSON, or 304 for a reader that has just this."""
    body = model.model_dump_json().encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
