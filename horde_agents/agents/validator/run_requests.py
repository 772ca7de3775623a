"""Makes a job request of this validator's own, in the form in which users' requests reach it. Pure."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.rest_api import forwarded_frame, read_create_job
from horde_agents.protocol.signed_fields import Scope, sign_payload, signed_fields_payload, signed_view
from horde_agents.protocol.signing import Signer


def own_frame(body: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """The request ``body``, as users post it, signed by this validator.

    Raises:
        Refused: ``body`` is no valid job request.
    """
    job = read_create_job(body)
    payload = signed_fields_payload(signed_view(body))
    signature = sign_payload(signer, payload, time.time_ns(), Scope.SIGNED_FIELDS)
    return forwarded_frame(str(uuid4()), body, job, signature.as_wire())


def own_request(body: Mapping[str, Any], signer: Signer) -> V2JobRequest:
    """``own_frame`` as a message."""
    return V2JobRequest.model_validate(own_frame(body, signer))
