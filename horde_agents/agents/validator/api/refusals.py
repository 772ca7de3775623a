"""Every refusal of the API, in the one shape that the facilitator's has, too."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

#: code → (HTTP status, what it means); docs/operate/validator-api.md is printed from this table.
ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    "auth.missing": (401, "The request is not signed, and this reader has to sign."),
    "auth.malformed": (401, "A header of the signature is missing or cannot be read."),
    "auth.wrong_receiver": (401, "The request is signed for another validator."),
    "auth.stale": (401, "The request was signed too long ago or in the future; its text tells by how much."),
    "auth.signature_invalid": (401, "The signature is not the hotkey's over this request."),
    "auth.replayed": (401, "The same signed request came before; sign each one anew."),
    "auth.not_a_reader": (403, "This hotkey is none that may read here (setting `api_readers`)."),
    "peer.slow_down": (429, "Too many requests or refusals; `Retry-After` says how long to wait."),
    "parameter.unknown": (400, "The path has no such parameter, or it was given twice."),
    "parameter.invalid": (400, "A parameter is malformed or out of its range; the text names both."),
    "body.unwelcome": (400, "Reads have no body."),
    "thing.not_found": (404, "Nothing of that name, or nothing that may be shown yet."),
    "request.not_found": (404, "No such path."),
    "request.method": (405, "The path can only be read."),
    "request.malformed": (400, "The request cannot be read as HTTP."),
    "reading.too_slow": (503, "The answer did not come within its time; ask for less, or later."),
    "internal": (500, "A fault of the validator; its log has it under the request id."),
}


class ErrorBody(BaseModel):
    """Every refusal; ``error`` and ``detail`` are the same sentence."""

    error: str
    code: str = Field(description="A row of the table of error codes.")
    detail: str
    details: Any = None


class ApiRefused(Exception):
    """A request is refused; ``code`` is a row of ``ERRORS``."""

    def __init__(self, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s

    def answer(self) -> web.Response:
        """The refusal as it is sent."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if ERRORS[self.code][0] == 401:
            headers["WWW-Authenticate"] = "btauth"
        text = str(self)
        body = ErrorBody(error=text, code=self.code, detail=text)
        return web.json_response(body.model_dump(), status=ERRORS[self.code][0], headers=headers)


def of_http_error(error: web.HTTPException) -> ApiRefused:
    """What aiohttp itself refuses, in our shape."""
    if error.status == 404:
        return ApiRefused("request.not_found", "No such path; /api/v1/openapi.json lists them.")
    if error.status == 405:
        return ApiRefused("request.method", "Everything here can only be read: use GET or HEAD.")
    return ApiRefused("request.malformed", f"The request is refused: {error.reason}.")
