"""Takes a signed job request in: checked, stored with its first status, forwarded to a validator."""

import hashlib
import json
import uuid as uuids
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from horde_agents.agents.facilitator.links import Links, choose
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.stakes import Stakes
from horde_agents.jobs.budget import Limits, whole_budget_s
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.frames import STOCK_VALIDATOR_FRAME_BYTES, write_json
from horde_agents.protocol.rest_api import (
    CreateJob,
    Refused,
    WaitingTerms,
    forwarded_frame,
    read_create_job,
    read_waiting_terms,
)
from horde_agents.protocol.signed_fields import (
    Scope,
    Signature,
    SignatureWrong,
    check_freshness,
    full_request_payload,
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

    async def submit(
        self,
        owner: str,
        body: dict[str, Any],
        text: str,
        signature: Signature,
        scope: Scope = Scope.SIGNED_FIELDS,
    ) -> Submitted:
        """Store and forward one request; the same signed request again returns the job already made.

        In scope ``FULL_REQUEST`` it may name several classes and wait (extension ``waiting/1``).

        Raises:
            Refused: anything wrong with the request, or no validator for it.
        """
        payload = _payload(body, scope)
        self._check_signature(owner, signature, payload, scope)
        digest = hashlib.sha256(payload).hexdigest()
        job = read_create_job(body)
        terms = read_waiting_terms(body, job) if scope is Scope.FULL_REQUEST else None
        validator = await self._validator_for(job, may_wait=terms is not None)
        if validator is None:
            return Submitted(await self._retried(signature, digest, job), job, is_new=False)
        stored = self._row(owner, text, job, signature, digest, validator)
        if terms is not None:
            stored = _waiting(stored, job, terms)
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
            is_whole = _digest(body, Scope.FULL_REQUEST) == job.signed_sha256
            scope = Scope.FULL_REQUEST if is_whole else Scope.SIGNED_FIELDS
            signature = Signature(Hotkey(job.signatory), job.timestamp_ns, job.signature, scope)
            checked = read_create_job(body)
            await self._forward(job, self._frame(job.uuid, body, checked, signature))

    def _check_signature(self, owner: str, signature: Signature, payload: bytes, scope: Scope) -> None:
        settings = self.parts.settings
        if signature.scope is not scope:
            raise Refused("signature.malformed", f"On this path a job is signed in scope {scope.value}.")
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
        if await self._validator_for(job, may_wait=False) is not None:
            message = "No validator that could take the job lets jobs wait or name several classes. "
            raise Refused("job.cannot_wait", message + "Post it to /api/v1/job-docker/ without them.")
        wanted = f"{job.target_validator_hotkey:.64}" if job.target_validator_hotkey else "none"
        raise Refused("validator.not_available", f"Could not select Validator: {wanted} has no live link.")

    async def _validator_for(self, job: CreateJob, *, may_wait: bool) -> str | None:
        """The validator of a job; one that ``may_wait`` goes only to those that know how."""
        able = [hotkey for hotkey in self.links.live_hotkeys() if not may_wait or self._lets_wait(hotkey)]
        if job.target_validator_hotkey:
            return job.target_validator_hotkey if job.target_validator_hotkey in able else None
        live = {hotkey: self.stakes.of(hotkey) for hotkey in able}
        if len(live) <= 1:
            return next(iter(live), None)
        async with self.parts.store.reading() as connection:
            load = {hotkey: await jobs.open_count(connection, hotkey) for hotkey in live}
        return choose(live, load)

    def _lets_wait(self, hotkey: str) -> bool:
        link = self.links.of(hotkey)
        return link is not None and Extension.WAITING in link.extensions

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
        if signature.scope is Scope.FULL_REQUEST:
            kind = {"type": "job.new", "message_type": "HordeJobRequest"}
            value = {**kind, "uuid": uuid, "body": body, "signature": signature.as_wire()}
        else:
            value = forwarded_frame(uuid, body, job, signature.as_wire())
        frame = write_json(value)
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


def _payload(body: dict[str, Any], scope: Scope) -> bytes:
    if scope is Scope.FULL_REQUEST:
        return full_request_payload(body)
    return signed_fields_payload(signed_view(body))


def _digest(body: dict[str, Any], scope: Scope) -> str:
    return hashlib.sha256(_payload(body, scope)).hexdigest()


def _waiting(stored: StoredJob, job: CreateJob, terms: WaitingTerms) -> StoredJob:
    """With as much more time as it may wait, and as its slowest class takes to start."""
    slowest_s = max(CATALOGUE[name].spin_up_s for name in [*terms.executor_classes, job.executor_class])
    more_s = terms.wait_s + slowest_s - CATALOGUE[job.executor_class].spin_up_s
    return replace(stored, deadline_at=stored.deadline_at + timedelta(seconds=more_s))


def _same_or_refused(known: StoredJob, digest: str) -> StoredJob:
    if known.signed_sha256 != digest:
        raise Refused(
            "signature.reused", "This signature was used for another request; sign each request anew."
        )
    return known
