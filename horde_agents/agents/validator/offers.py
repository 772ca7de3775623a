"""Turns a user's job into the frames and receipts of one attempt. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from horde_agents.agents.validator.reactions import Plan
from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.jobs.budget import Limits
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.facilitator_validator import V2JobRequest
from horde_agents.protocol.signing import Hotkey, Signer, to_hex
from horde_agents.protocol.validator_miner import render_signed
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import (
    JobAccepted,
    JobFinished,
    JobStarted,
    Payload,
    payload_object,
    score_text,
    signed_text,
)

#: The legacy single timeout that validators send beside the stage limits (wire note C.4.1).
_LEGACY_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """Names an attempt to its miner, in frames and receipts."""

    uuid: str
    miner_hotkey: Hotkey


def new_key(miner_hotkey: Hotkey) -> AttemptKey:
    """A key that was never used."""
    return AttemptKey(str(uuid4()), miner_hotkey)


def plan_of(request: V2JobRequest, settings: ValidatorSettings) -> Plan:
    """How long each stage may take.

    Raises:
        KeyError: the request names no executor class of the catalogue.
    """
    is_streaming = request.streaming_details is not None
    limits = Limits(
        request.download_time_limit,
        request.execution_time_limit,
        request.upload_time_limit,
        request.streaming_start_time_limit if is_streaming else 0,
        settings.leeway_s,
    )
    spin_up_s = CATALOGUE[request.executor_class].spin_up_s
    return Plan(limits, spin_up_s, settings.startup_s, settings.reservation_s, is_streaming)


def offer_frame(request: V2JobRequest, key: AttemptKey, plan: Plan, started: Receipt, signer: Signer) -> str:
    """The signed V0InitialJobRequest."""
    streaming = request.streaming_details
    message = frames.V0InitialJobRequest(
        job_uuid=key.uuid,
        executor_class=request.executor_class,
        docker_image=request.docker_image,
        timeout_seconds=_LEGACY_TIMEOUT_S,
        volume=request.volume,
        job_started_receipt_payload=_object(started),
        job_started_receipt_signature=started.validator_signature,
        streaming_details=frames.StreamingClient(**streaming.model_dump()) if streaming else None,
        executor_timing=frames.ExecutorTiming(
            allowed_leeway=plan.limits.leeway_s,
            download_time_limit=request.download_time_limit,
            execution_time_limit=request.execution_time_limit,
            upload_time_limit=request.upload_time_limit,
            streaming_start_time_limit=request.streaming_start_time_limit,
        ),
    )
    return render_signed(message, signer)


def payload_frame(request: V2JobRequest, key: AttemptKey, signer: Signer) -> str:
    """The signed V0JobRequest; volumes went with the offer (wire note C.4.2)."""
    message = frames.V0JobRequest(
        job_uuid=key.uuid,
        executor_class=request.executor_class,
        docker_image=request.docker_image,
        docker_run_options_preset="nvidia_all" if CATALOGUE[request.executor_class].needs_gpu else "none",
        docker_run_cmd=request.args,
        env=request.env,
        output_upload=request.output_upload,
        artifacts_dir=request.artifacts_dir,
    )
    return render_signed(message, signer)


def started_receipt(
    key: AttemptKey,
    executor_class: str,
    reservation_s: float,
    signer: Signer,
    at: datetime,
    *,
    is_organic: bool = True,
) -> Receipt:
    """Says that the attempt is offered now."""
    payload = JobStarted(
        job_uuid=key.uuid,
        miner_hotkey=key.miner_hotkey,
        validator_hotkey=signer.hotkey,
        timestamp=at,
        executor_class=executor_class,
        is_organic=is_organic,
        ttl=math.ceil(reservation_s),
    )
    return _signed(payload, signer)


def accepted_receipt(key: AttemptKey, ttl_s: int, signer: Signer, at: datetime) -> Receipt:
    """Says that the miner took the attempt, which occupies an executor for at most ``ttl_s``."""
    payload = JobAccepted(
        job_uuid=key.uuid,
        miner_hotkey=key.miner_hotkey,
        validator_hotkey=signer.hotkey,
        timestamp=at,
        time_accepted=at,
        ttl=ttl_s,
    )
    return _signed(payload, signer)


def finished_receipt(
    key: AttemptKey, value_s: int, started_at: datetime, signer: Signer, at: datetime
) -> Receipt:
    """Says that the attempt is over and what it is worth (wire note C.8.3)."""
    payload = JobFinished(
        job_uuid=key.uuid,
        miner_hotkey=key.miner_hotkey,
        validator_hotkey=signer.hotkey,
        timestamp=at,
        time_started=started_at,
        time_took_us=max(0, round((at - started_at).total_seconds() * 1_000_000)),
        score_str=score_text(value_s),
        block_numbers=[],
    )
    return _signed(payload, signer)


def _signed(payload: Payload, signer: Signer) -> Receipt:
    return Receipt(payload, to_hex(signer.sign(signed_text(payload))))


def _object(receipt: Receipt) -> dict[str, object]:
    return payload_object(receipt.payload)
