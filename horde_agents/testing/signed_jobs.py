"""Makes job requests as users sign them and facilitators forward them."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from horde_agents.protocol.rest_api import forwarded_frame, read_create_job
from horde_agents.protocol.signed_fields import (
    Scope,
    full_request_payload,
    sign_payload,
    signed_fields_payload,
    signed_view,
    view_of_forwarded,
)
from horde_agents.protocol.signing import Signer


def job_body(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON)
    """A small request that any miner of the test class can run."""
    body: dict[str, Any] = {
        "executor_class": "always_on.test",
        "docker_image": "alpine:3.20",
        "args": ["echo", "hello"],
        "env": {},
        "use_gpu": True,
        "artifacts_dir": None,
        "on_trusted_miner": False,
        "download_time_limit": 5,
        "execution_time_limit": 10,
        "upload_time_limit": 5,
        "streaming_start_time_limit": 5,
    }
    return body | changes


def job_frame(signer: Signer, uuid: str | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """The V2JobRequest of a request that ``signer`` signed now."""
    return frame_of(signer, job_body(**changes), uuid)


def frame_of(signer: Signer, body: Mapping[str, Any], uuid: str | None = None) -> dict[str, Any]:
    """The V2JobRequest of ``body``, signed now."""
    payload = signed_fields_payload(signed_view(body))
    signature = sign_payload(signer, payload, time.time_ns(), Scope.SIGNED_FIELDS)
    return forwarded_frame(uuid or str(uuid4()), body, read_create_job(body), signature.as_wire())


def whole_job_frame(signer: Signer, uuid: str | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """The HordeJobRequest of a request whose user signed the whole body now (extension ``waiting/1``)."""
    body = job_body(**changes)
    signature = sign_payload(signer, full_request_payload(body), time.time_ns(), Scope.FULL_REQUEST)
    kind = {"type": "job.new", "message_type": "HordeJobRequest"}
    return {**kind, "uuid": uuid or str(uuid4()), "body": body, "signature": signature.as_wire()}


def resigned(signer: Signer, frame: Mapping[str, Any]) -> dict[str, Any]:
    """``frame`` with a signature over what it says now, sensible or not."""
    payload = signed_fields_payload(view_of_forwarded(frame))
    signature = sign_payload(signer, payload, time.time_ns(), Scope.SIGNED_FIELDS)
    return {**frame, "signature": signature.as_wire()}


def cheat_frame(
    signer: Signer, job_uuid: str, trusted_job_uuid: str, details: object, timestamp_ns: int | None = None
) -> dict[str, Any]:
    """The V0JobCheated of a report that ``signer`` signed as the SDK does."""
    body = {"job_uuid": job_uuid, "trusted_job_uuid": trusted_job_uuid, "details": details}
    at_ns = timestamp_ns or time.time_ns()
    signature = sign_payload(signer, full_request_payload(body), at_ns, Scope.FULL_REQUEST)
    return {"type": "job.cheated", "message_type": "V0JobCheated", **body, "signature": signature.as_wire()}
