"""Checks what a facilitator forwards: who signed it, whether it is new; stores it before it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from horde_agents.agents.validator import offers, records
from horde_agents.agents.validator.dispatch import Dispatch
from horde_agents.agents.validator.parts import Listener, LiveJob, Parts
from horde_agents.jobs.budget import FACILITATOR_GRACE_S
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.jobs.events import Declined, JobEvent, Received
from horde_agents.jobs.faults import RejectionReason
from horde_agents.jobs.lifecycle import Job, replay
from horde_agents.jobs.states import Role
from horde_agents.protocol.facilitator_validator import HordeJobRequest, V2JobRequest, WireSignature
from horde_agents.protocol.frames import render, write_json
from horde_agents.protocol.rest_api import Refused, read_create_job, read_waiting_terms, whole_frame
from horde_agents.protocol.signed_fields import (
    Scope,
    full_request_payload,
    signed_fields_payload,
    verify_payload,
    view_of_forwarded,
)
from horde_agents.protocol.signing import Hotkey
from horde_agents.protocol.status_updates import status_update
from horde_agents.runtime.clock import now
from horde_agents.runtime.logs import get_logger
from horde_agents.store import access
from horde_agents.store.jobs import StoredJob

_log = get_logger(__name__)


@dataclass(slots=True)
class Intake:
    """The door for jobs, from facilitators and from the operator."""

    parts: Parts
    dispatch: Dispatch

    async def take_job(
        self,
        request: V2JobRequest,
        frame: Mapping[str, Any],
        source: str,
        *,
        miner_hotkey: Hotkey | None = None,
        listener: Listener | None = None,
    ) -> None:
        """Store and start a job once; every refusal is told as ``rejected``."""
        if request.horde_executor_classes or request.horde_wait_s:
            why = "horde_executor_classes and horde_wait_s come in a HordeJobRequest, signed by the user."
            await self._refuse(request.uuid[:36], source, RejectionReason.UNKNOWN, why)
            return
        payload = signed_fields_payload(view_of_forwarded(frame))
        if await self._is_trusted(request.uuid, request.signature, payload, Scope.SIGNED_FIELDS, source):
            await self._take(request, frame, payload, source, miner_hotkey, listener)

    async def take_whole(self, sent: HordeJobRequest, source: str) -> None:
        """As ``take_job``, for a request whose user signed the whole body (extension ``waiting/1``)."""
        payload = full_request_payload(sent.body)
        if not await self._is_trusted(sent.uuid, sent.signature, payload, Scope.FULL_REQUEST, source):
            return
        signature = sent.signature.model_dump(mode="json")
        try:
            job = read_create_job(sent.body)
            frame = whole_frame(sent.uuid, sent.body, job, read_waiting_terms(sent.body, job), signature)
            request = V2JobRequest.model_validate(frame)
        except (Refused, ValidationError) as error:
            await self._refuse(sent.uuid, source, RejectionReason.UNKNOWN, str(error)[:500])
            return
        await self._take(request, frame, payload, source, None, None)

    async def _is_trusted(
        self, uuid: str, signature: WireSignature, payload: bytes, scope: Scope, source: str
    ) -> bool:
        if not _is_canonical_uuid(uuid):
            _log.warning("job without a canonical uuid", job=uuid[:64], source=source)
            await self._refuse(uuid[:36], source, RejectionReason.UNKNOWN, "uuid is not canonical")
            return False
        why = await why_not_trusted(self.parts, signature, payload, scope)
        if why is not None:
            _log.warning("job refused", job=uuid, source=source, why=why)
            await self._refuse(uuid, source, RejectionReason.INVALID_SIGNATURE, why)
        return why is None

    async def _take(
        self,
        request: V2JobRequest,
        frame: Mapping[str, Any],
        payload: bytes,
        source: str,
        miner_hotkey: Hotkey | None,
        listener: Listener | None,
    ) -> None:
        job = replay(request.uuid, [self._first_event(request)])
        stored = self._stored(request, frame, source, sha256(payload).hexdigest())
        if await self._is_new(stored, job):
            self._start(request, stored, job, miner_hotkey, listener)

    async def refuse_unreadable(self, uuid: str, source: str, why: str) -> None:
        """Tell that a job request could not be read."""
        await self._refuse(uuid, source, RejectionReason.UNKNOWN, why)

    def _first_event(self, request: V2JobRequest) -> JobEvent:
        why = self._why_impossible(request)
        if why is None:
            return Received(Role.VALIDATOR)
        return Declined(Role.VALIDATOR, RejectionReason.NO_MINER_FOR_JOB, why)

    def _why_impossible(self, request: V2JobRequest) -> str | None:
        for name in request.classes:
            if name not in CATALOGUE:
                return f"Executor class {name!r:.80} is not known to this validator."
        longest_wait_s = self.parts.settings.longest_wait_s
        if request.horde_wait_s > longest_wait_s:
            return f"The job would wait {request.horde_wait_s} s; the most here is {longest_wait_s} s."
        longest_s = self.parts.settings.longest_job_s
        asked_s = offers.plan_of(request, self.parts.settings).limits.running_s
        if asked_s > longest_s:
            return f"The job's limits add up to {asked_s} s; this validator takes at most {longest_s} s."
        if request.on_trusted_miner and self.parts.directory.trusted is None:
            return "The job asks for the trusted miner; this validator has none (setting trusted_miner)."
        return None

    def _stored(
        self, request: V2JobRequest, frame: Mapping[str, Any], source: str, signed_sha256: str
    ) -> StoredJob:
        at = now()
        signature = request.signature
        return StoredJob(
            uuid=request.uuid,
            owner_hotkey=signature.signatory,
            signatory=signature.signatory,
            timestamp_ns=signature.timestamp_ns,
            signature=signature.signature,
            signed_sha256=signed_sha256,
            request_json=write_json(frame),
            validator_hotkey=self.parts.signer.hotkey,
            tag=source,
            created_at=at,
            deadline_at=self._deadline_at(request, at),
        )

    def _deadline_at(self, request: V2JobRequest, at: datetime) -> datetime:
        settings = self.parts.settings
        spin_ups_s = [CATALOGUE[name].spin_up_s for name in request.classes if name in CATALOGUE]
        if request.executor_class not in CATALOGUE or not spin_ups_s:
            return at
        plan = offers.plan_of(request, settings)
        whole_s = plan.reservation_s + max(spin_ups_s) + plan.startup_s + plan.limits.running_s
        patience_s = request.horde_wait_s + max(FACILITATOR_GRACE_S, settings.retry_window_s)
        return at + timedelta(seconds=whole_s + patience_s)

    async def _is_new(self, stored: StoredJob, job: Job) -> bool:
        update = render(status_update(job.history[-1], stored.uuid))
        known, kept = await self.parts.store.writer.run(
            lambda connection: records.take_job(connection, stored, job, update)
        )
        if known is stored:
            outbox = self.parts.outboxes.get(stored.tag)
            if outbox is not None and kept is not None:
                outbox.post_stored([kept])
            return True
        if known.uuid != stored.uuid:
            why = f"The signature was already used for job {known.uuid}."
            await self._refuse(stored.uuid, stored.tag, RejectionReason.INVALID_SIGNATURE, why)
        else:
            _log.info("job is known already", job=stored.uuid)
        return False

    def _start(
        self,
        request: V2JobRequest,
        stored: StoredJob,
        job: Job,
        miner_hotkey: Hotkey | None,
        listener: Listener | None,
    ) -> None:
        if listener is not None:
            listener(job.history[-1])
        if job.state.is_final:
            return
        plan = offers.plan_of(request, self.parts.settings)
        live = LiveJob(request, plan, stored.tag, stored.created_at, job, miner_hotkey, listener)
        self.dispatch.start(live)

    async def _refuse(self, uuid: str, source: str, reason: RejectionReason, why: str) -> None:
        """Reject a request that is not stored as a job: its uuid or signature cannot be trusted."""
        update = render(status_update(Declined(Role.VALIDATOR, reason, why), uuid))
        outbox = self.parts.outboxes.get(source)
        if outbox is not None:
            await outbox.keep_and_post(update, uuid)


async def why_not_trusted(parts: Parts, signature: WireSignature, payload: bytes, scope: Scope) -> str | None:
    """Why a signed request does not count here; ``None`` when it does."""
    signatory = signature.signatory
    if signatory != parts.signer.hotkey:
        async with parts.store.reading() as connection:
            entry = (await access.entries(connection, records.SUBMIT, now())).get(signatory)
        if entry is None or not entry.allowed:
            return f"Signatory {signatory[:64]} is not on this validator's list (horde validator allow)."
    if signature.signature_scope is not scope:
        return f"Signature scope is {signature.signature_scope}; {scope} is needed here."
    if not verify_payload(signature.plain(), payload):
        return f"The signature is not {signatory[:64]}'s over this request."
    return None


def _is_canonical_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
