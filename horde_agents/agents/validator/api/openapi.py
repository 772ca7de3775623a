"""The API's description as OpenAPI 3.1, generated from the endpoints and the models of their answers."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from horde_agents import __version__
from horde_agents.agents.validator.api import (
    batches,
    manifests,
    receipts,
    scores,
    shares,
    status,
    verdicts,
    weights,
)
from horde_agents.agents.validator.api.endpoints import Endpoint
from horde_agents.agents.validator.api.parameters import Parameter
from horde_agents.agents.validator.api.refusals import ERRORS, ErrorBody
from horde_agents.protocol.btauth import (
    HOTKEY_HEADER,
    NONCE_HEADER,
    RECEIVER_HEADER,
    SIGNATURE_HEADER,
    VERSION_HEADER,
)

PATH: Final = "/api/v1/openapi.json"
#: Every path that is read by the rules of access, in the order of the page.
ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *status.ENDPOINTS,
    *manifests.ENDPOINTS,
    *batches.ENDPOINTS,
    *scores.ENDPOINTS,
    *verdicts.ENDPOINTS,
    *shares.ENDPOINTS,
    *weights.ENDPOINTS,
    *receipts.ENDPOINTS,
)
_ABOUT: Final = (
    "Read-only. Unsigned from the validator's own machine; elsewhere signed as btauth/1 (bittensor's "
    "http_auth) by a hotkey that may read. Pages are stable while rows are added: follow `next_cursor`."
)
_SIGNED_BY: Final = (VERSION_HEADER, HOTKEY_HEADER, RECEIVER_HEADER, NONCE_HEADER, SIGNATURE_HEADER)


def document() -> dict[str, Any]:
    """The whole description."""
    models: list[type[BaseModel]] = [*(endpoint.answer for endpoint in ENDPOINTS), ErrorBody]
    _, schemas = models_json_schema(
        [(model, "serialization") for model in dict.fromkeys(models)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Horde validator", "version": __version__, "description": _ABOUT},
        "paths": {endpoint.path: {"get": _operation(endpoint)} for endpoint in ENDPOINTS} | _own_path(),
        "components": {"schemas": schemas["$defs"], "securitySchemes": _schemes()},
        "security": [{}, {header: [] for header in _SIGNED_BY}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "summary": endpoint.summary,
        "operationId": "read_" + endpoint.path.removeprefix("/api/v1/").translate(_TO_NAME).strip("_"),
        "parameters": [*_parameters(endpoint.in_path, "path"), *_parameters(endpoint.in_query, "query")],
        "responses": {
            "200": _content("The answer.", endpoint.answer.__name__),
            "304": {"description": "The reader's `If-None-Match` is still right."},
            **{str(status_code): _refusal(status_code) for status_code in _STATUSES},
        },
    }


def _parameters(parameters: Sequence[Parameter], place: str) -> list[dict[str, Any]]:
    return [
        {
            "name": parameter.name,
            "in": place,
            "required": place == "path",
            "description": parameter.description,
            "schema": dict(parameter.schema),
        }
        for parameter in parameters
    ]


def _refusal(status_code: int) -> dict[str, Any]:
    codes = [f"`{code}`" for code, (found, _) in ERRORS.items() if found == status_code]
    return _content(", ".join(codes), ErrorBody.__name__)


def _content(description: str, schema: str) -> dict[str, Any]:
    ref = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": ref}}}


def _own_path() -> dict[str, Any]:
    answer = {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
    own = {
        "summary": "This description; open to whoever can reach the port.",
        "operationId": "read_openapi",
        "security": [{}],
        "responses": {"200": answer},
    }
    return {PATH: {"get": own}}


def _schemes() -> dict[str, Any]:
    return {header: {"type": "apiKey", "in": "header", "name": header} for header in _SIGNED_BY}


_STATUSES: Final = sorted({status_code for status_code, _ in ERRORS.values() if status_code != 405})
_TO_NAME: Final = str.maketrans({"/": "_", "{": None, "}": None, "-": "_"})
