"""Takes a signed job request in: checked, stored with its first status, forwarded to a validator."""

import hashlib
import json
import uuid as uuids
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from horde_agents.agents.facilitator.links import Links, choose
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.stakes import Stakes
from horde_agents.jobs.budget import Limits, whole_budget_s
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol.frames import STOCK_VALIDATOR_FRAME_BYTES
from horde_agents.protocol.rest_api import CreateJob, Refused, forwarded_frame, read_create_job
from horde_agents.protocol.signed_fields import (
    Scope,
    Signature,
    SignatureWrong,
    check_freshness,
    signed_fields_payload,
    signed_view,
    verify_payload,
)
from horde_agents.protocol.signing import Hotkey
from horde_agents.runtime import clock
from horde_agents.runtime.logs import get_logger
from horde_agents.store import jobs
from horde_agents.store.jobs import StoredJob

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that a request has, its body as it was read, and whether this request made it."""

    job: StoredJob
    request: CreateJob
    is_new: bool


@dataclass(slots=True)
class Submissions:
    """The way in for jobs."""

    parts: FacilitatorParts
    links: Links
    stakes: Stakes

    async def submit(self, owner: str, body: dict[str, Any], text: str, signature: Signature) -> Submitted:
        """Store and forward one request; the same signed request again returns the job already made.

        Raises:
            Refused: anything wrong with the request, or no validator for it.
        """
        payload = signed_fields_payload(signed_view(body))
        self._check_signature(owner, signature, payload)
        digest = hashlib.sha256(payload).hexdigest()
        job = read_create_job(body)
        validator = await self._validator_for(job)
        if validator is None:
            return Submitted(await self._retried(signature, digest, job), job, is_new=False)
        stored = self._row(owner, text, job, signature, digest, validator)
        frame = self._frame(stored.uuid, body, job, signature)
        kept = await self.parts.store.writer.run(lambda connection: jobs.add(connection, stored))
        if kept.uuid != stored.uuid:
            return Submitted(_same_or_refused(kept, digest), job, is_new=False)
        self.parts.metrics.submitted.inc()
        await self._forward(stored, frame)
        return Submitted(stored, job, is_new=True)

    async def forward_again(self, validator_hotkey: str) -> None:
        """Send jobs that are still ``sent`` to a validator that ignores those it has."""
        async with self.parts.store.reading() as connection:
            waiting = await jobs.unfinished(connection, validator_hotkey)
        for job in waiting:
            body = json.loads(job.request_json)
            signature = Signature(Hotkey(job.signatory), job.timestamp_ns, job.signature)
            checked = read_create_job(body)
            await self._forward(job, self._frame(job.uuid, body, checked, signature))

    def _check_signature(self, owner: str, signature: Signature, payload: bytes) -> None:
        settings = self.parts.settings
        if signature.scope is not Scope.SIGNED_FIELDS:
            raise Refused("signature.malformed", "A job is signed in scope SignedFields.")
        if signature.signatory != owner:
            message = f"The request is signed by {signature.signatory:.64}, but {owner} is logged in."
            raise Refused("signature.wrong_signatory", message)
        try:
            now_ns = int(clock.now().timestamp() * 1e9)
            check_freshness(signature, now_ns, settings.signature_back_s, settings.signature_ahead_s)
        except SignatureWrong as error:
            raise Refused(error.code, str(error)) from error
        if not verify_payload(signature, payload):
            raise Refused(
                "signature.invalid", "Invalid signature provided", "The signature does not cover this body."
            )

    async def _retried(self, signature: Signature, digest: str, job: CreateJob) -> StoredJob:
        """The job already made by this request, though nobody could take a new one now."""
        async with self.parts.store.reading() as connection:
            known = await jobs.by_signature(
                connection, signature.signatory, signature.timestamp_ns, signature.signature
            )
        if known is not None:
            return _same_or_refused(known, digest)
        wanted = f"{job.target_validator_hotkey:.64}" if job.target_validator_hotkey else "none"
        raise Refused("validator.not_available", f"Could not select Validator: {wanted} has no live link.")

    async def _validator_for(self, job: CreateJob) -> str | None:
        if job.target_validator_hotkey:
            return job.target_validator_hotkey if self.links.of(job.target_validator_hotkey) else None
        live = {hotkey: self.stakes.of(hotkey) for hotkey in self.links.live_hotkeys()}
        if len(live) <= 1:
            return next(iter(live), None)
        async with self.parts.store.reading() as connection:
            load = {hotkey: await jobs.open_count(connection, hotkey) for hotkey in live}
        return choose(live, load)

    def _row(
        self, owner: str, text: str, job: CreateJob, signature: Signature, digest: str, validator: str
    ) -> StoredJob:
        at = clock.now()
        limits = Limits(
            job.download_time_limit,
            job.execution_time_limit,
            job.upload_time_limit,
            job.streaming_start_time_limit if job.streaming_details else 0,
        )
        budget_s = whole_budget_s(limits, CATALOGUE[job.executor_class].spin_up_s)
        deadline_at = at + timedelta(seconds=budget_s + self.parts.settings.deadline_grace_s)
        return StoredJob(
            uuid=str(uuids.uuid4()),
            owner_hotkey=owner,
            signatory=signature.signatory,
            timestamp_ns=signature.timestamp_ns,
            signature=signature.signature,
            signed_sha256=digest,
            request_json=text,
            validator_hotkey=validator,
            tag=job.tag,
            created_at=at,
            deadline_at=deadline_at,
        )

    def _frame(self, uuid: str, body: dict[str, Any], job: CreateJob, signature: Signature) -> str:
        frame = json.dumps(forwarded_frame(uuid, body, job, signature.as_wire()), ensure_ascii=False)
        size = len(frame.encode())
        if size > STOCK_VALIDATOR_FRAME_BYTES:
            message = f"The job makes a frame of {size} bytes; {STOCK_VALIDATOR_FRAME_BYTES} is the most. "
            raise Refused(
                "body.too_large", message + "Put large inputs behind a URL instead of inline volumes."
            )
        return frame

    async def _forward(self, job: StoredJob, frame: str) -> None:
        link = self.links.of(job.validator_hotkey)
        if link is None or not await link.send(frame):
            _log.warning("job waits for its validator's next link", job=job.uuid, peer=job.validator_hotkey)


def _same_or_refused(known: StoredJob, digest: str) -> StoredJob:
    if known.signed_sha256 != digest:
        raise Refused(
            "signature.reused", "This signature was used for another request; sign each request anew."
        )
    return known
