"""What users send to the facilitator and get back (wire notes A), and the one shape of refusals.

Every refusal is ``{"error", "code", "detail", "details"}``: stock clients look for ``error`` or ``detail``,
scripts should look at ``code``; ``ERRORS`` lists them all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from horde_agents.jobs.classes import CATALOGUE, DEFAULT_CLASS
from horde_agents.jobs.states import JobState
from horde_agents.protocol.volumes import SingleUpload, SingleVolume

T = TypeVar("T")

_MAX_LIMIT_S: Final = 30 * 24 * 3600
#: Seconds that a job may ask to wait for capacity; validators set a limit of their own below it.
_MAX_WAIT_S: Final = 24 * 3600
_MOST_CLASSES: Final = 16
_IMAGE: Final = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
)

#: code → (HTTP status, what it means); the reference page is printed from this table.
ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    "auth.missing": (401, "No bearer token was sent."),
    "auth.token_expired": (401, "The token is unusable; log in again (every stock client does)."),
    "auth.nonce_invalid": (400, "The login nonce is unknown, used or expired; fetch a new one."),
    "auth.signature_invalid": (401, "The login signature is not the hotkey's over the nonce."),
    "auth.hotkey_not_allowed": (403, "The operator has not allowed this hotkey."),
    "auth.malformed": (400, "The login body lacks hotkey, signature or nonce."),
    "signature.missing": (400, "A signed request lacks its X-CH-* headers."),
    "signature.malformed": (400, "A signature header cannot be read."),
    "signature.invalid": (400, "The signature does not cover this body."),
    "signature.stale": (400, "The signature's timestamp is too old or in the future."),
    "signature.wrong_signatory": (400, "The request is signed by another hotkey than the one logged in."),
    "signature.reused": (409, "The same signature came with another signed body."),
    "body.too_large": (413, "The body, or the frame made of it, is over the limit."),
    "body.malformed": (400, "The body is no JSON object, or its encoding lies."),
    "body.too_slow": (408, "The body did not come within its time."),
    "job.invalid": (400, "A field of the job is wrong; `details` names it."),
    "job.unknown_class": (400, "No such executor class."),
    "job.cannot_wait": (400, "The wanted validator, or any, does not know `executor_classes` and `wait_s`."),
    "job.not_found": (404, "No such job of yours."),
    "job.already_final": (409, "The job has ended; nothing to cancel."),
    "job.cancel_unsupported": (409, "The job is at a stock peer, which cannot cancel."),
    "page.invalid": (404, "The page is past the end or no number."),
    "validator.not_available": (400, "The wanted validator, or any, has no live link."),
    "report.exists": (400, "The job has been reported already."),
    "feedback.exists": (409, "The job has feedback already."),
    "peer.slow_down": (429, "Too many refused requests; wait before the next."),
    "request.not_found": (404, "No such path."),
    "request.method": (405, "The path does not take this method."),
    "internal": (500, "A fault of the facilitator; the log has it under the request id."),
}


class Refused(Exception):
    """A request is refused; ``code`` is a row of ``ERRORS``."""

    def __init__(
        self, code: str, message: str, details: object = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return ERRORS[self.code][0]

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        text = str(self)
        return {"error": text, "code": self.code, "detail": text, "details": self.details}


def _image(text: str) -> str:
    if len(text) > 512 or not _IMAGE.fullmatch(text):
        raise ValueError(
            f"docker_image {text!r:.120} is no image name such as 'alpine:3.20' or 'host/name@sha256:…'"
        )
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character can stand in no argument, variable or name")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
LimitS = Annotated[int, Field(ge=0, le=_MAX_LIMIT_S)]


class StreamingRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")
    public_key: str


class CreateJob(BaseModel):
    """A job request; read beside the raw object, which is what is signed and forwarded."""

    model_config = ConfigDict(extra="ignore", strict=True)

    target_validator_hotkey: str | None = None
    executor_class: str = DEFAULT_CLASS
    docker_image: Annotated[str, AfterValidator(_image)]
    job_namespace: Text | None = Field(default=None, max_length=255)
    args: list[Text] = Field(default_factory=list)
    env: dict[Text, Text] = Field(default_factory=dict, repr=False)
    use_gpu: bool = False
    artifacts_dir: Text | None = None
    on_trusted_miner: bool = False
    download_time_limit: LimitS
    execution_time_limit: LimitS
    upload_time_limit: LimitS
    streaming_start_time_limit: LimitS = 0
    streaming_details: StreamingRequest | None = None
    volumes: list[SingleVolume] = Field(default_factory=list)
    uploads: list[SingleUpload] = Field(default_factory=list)
    tag: Text = Field(default="", max_length=255)


class WaitingTerms(BaseModel):
    """What a request may say beyond a stock one, on a path of our own (extension ``waiting/1``)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    executor_classes: list[str] = Field(default_factory=list, max_length=_MOST_CLASSES)
    wait_s: int = Field(default=0, ge=0, le=_MAX_WAIT_S)


_CREATE: Final = TypeAdapter(CreateJob)
_TERMS: Final = TypeAdapter(WaitingTerms)


def read_create_job(body: Mapping[str, Any]) -> CreateJob:
    """Check a job request.

    Raises:
        Refused: ``job.invalid`` with the fields that are wrong, or ``job.unknown_class``.
    """
    job = _read(_CREATE, body)
    _refuse_unknown_class(job.executor_class)
    if job.artifacts_dir and not job.artifacts_dir.startswith("/"):
        raise Refused("job.invalid", "artifacts_dir: must be an absolute path in the container.")
    return job


def read_waiting_terms(body: Mapping[str, Any], job: CreateJob) -> WaitingTerms:
    """The classes that will do, the cheapest of which is tried first, and how long the job may wait.

    Raises:
        Refused: ``job.invalid`` or ``job.unknown_class``.
    """
    terms = _read(_TERMS, body)
    for name in terms.executor_classes:
        _refuse_unknown_class(name)
    if len(set(terms.executor_classes)) < len(terms.executor_classes):
        raise Refused("job.invalid", "executor_classes: a class is named twice.")
    if terms.executor_classes and job.executor_class not in terms.executor_classes:
        raise Refused("job.invalid", f"executor_class: {job.executor_class} is not in executor_classes.")
    if job.on_trusted_miner and (terms.wait_s or len(terms.executor_classes) > 1):
        raise Refused("job.invalid", "on_trusted_miner: such a job neither waits nor names several classes.")
    return terms


def _read(adapter: TypeAdapter[T], body: Mapping[str, Any]) -> T:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        details = {_where(item["loc"]): [item["msg"]] for item in error.errors(include_url=False)}
        where, messages = next(iter(details.items()))
        raise Refused("job.invalid", f"{where}: {messages[0]}", details) from error


def _refuse_unknown_class(name: str) -> None:
    if name not in CATALOGUE:
        known = ", ".join(sorted(CATALOGUE))
        raise Refused("job.unknown_class", f"Unknown executor class {name!r:.80}; known are: {known}.")


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "body"


def forwarded_frame(
    uuid: str, body: Mapping[str, Any], job: CreateJob, signature: Mapping[str, Any]
) -> dict[str, Any]:
    """The V2JobRequest of a request: values untouched, in the user's key order (wire note B.5)."""
    volumes, uploads = body.get("volumes") or [], body.get("uploads") or []
    streaming = body.get("streaming_details")
    return {
        "type": "job.new",
        "message_type": "V2JobRequest",
        "uuid": uuid,
        "job_namespace": job.job_namespace,
        "executor_class": job.executor_class,
        "docker_image": job.docker_image,
        "args": body.get("args", []),
        "env": body.get("env", {}),
        "use_gpu": job.use_gpu,
        "volume": {"volume_type": "multi_volume", "volumes": volumes} if volumes else None,
        "output_upload": (
            {"output_upload_type": "multi_upload", "uploads": uploads, "system_output": None}
            if uploads
            else None
        ),
        "artifacts_dir": job.artifacts_dir or None,
        "on_trusted_miner": job.on_trusted_miner,
        "download_time_limit": job.download_time_limit,
        "execution_time_limit": job.execution_time_limit,
        "upload_time_limit": job.upload_time_limit,
        "streaming_start_time_limit": job.streaming_start_time_limit,
        "streaming_details": (
            {"public_key": streaming["public_key"], "executor_ip": None}
            if isinstance(streaming, dict)
            else None
        ),
        "signature": dict(signature),
    }


def whole_frame(
    uuid: str, body: Mapping[str, Any], job: CreateJob, terms: WaitingTerms, signature: Mapping[str, Any]
) -> dict[str, Any]:
    """The V2JobRequest that a validator makes of a request whose user signed the whole body."""
    return {
        **forwarded_frame(uuid, body, job, signature),
        "horde_executor_classes": terms.executor_classes,
        "horde_wait_s": terms.wait_s,
    }


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """One line of a job's status history as users see it; ``created_at`` is ISO text."""

    status: JobState
    metadata: Mapping[str, Any]
    created_at: str

    def as_json(self) -> dict[str, Any]:
        """The entry's JSON (wire note A.5.4)."""
        return {"status": self.status.value, "metadata": dict(self.metadata), "created_at": self.created_at}


_LABELS: Final[Mapping[JobState, str]] = {
    JobState.SENT: "Sent",
    JobState.RECEIVED: "Received",
    JobState.ACCEPTED: "Accepted",
    JobState.EXECUTOR_READY: "Executor Ready",
    JobState.STREAMING_READY: "Streaming Ready",
    JobState.VOLUMES_READY: "Volumes Ready",
    JobState.EXECUTION_DONE: "Execution Done",
    JobState.COMPLETED: "Completed",
    JobState.REJECTED: "Rejected",
    JobState.FAILED: "Failed",
    JobState.HORDE_FAILED: "Failed",
}


def job_object(
    uuid: str, body: Mapping[str, Any], job: CreateJob, history: list[StatusEntry], created_at: datetime
) -> dict[str, Any]:
    """A job as users read it (wire notes A.5); ``history`` is oldest first and never empty."""
    last = history[-1]
    result = last.metadata.get("miner_response") or last.metadata.get("job_failure_details") or {}
    streaming: Mapping[str, Any] = next(
        (e.metadata["streaming_details"] for e in history if e.metadata.get("streaming_details")), {}
    )
    return {
        "uuid": uuid,
        "executor_class": job.executor_class,
        "created_at": created_at.isoformat().replace("+00:00", "Z"),
        "last_update": last.created_at,
        "status": _LABELS[last.status],
        "docker_image": job.docker_image,
        "job_namespace": job.job_namespace,
        "args": job.args,
        "env": job.env,
        "use_gpu": job.use_gpu,
        "tag": job.tag,
        "stdout": result.get("docker_process_stdout") or "",
        "stderr": result.get("docker_process_stderr") or "",
        "volumes": body.get("volumes") or [],
        "uploads": body.get("uploads") or [],
        "artifacts": result.get("artifacts") or {},
        "artifacts_dir": job.artifacts_dir or "",
        "target_validator_hotkey": job.target_validator_hotkey or "",
        "on_trusted_miner": job.on_trusted_miner,
        "upload_results": result.get("upload_results") or {},
        "download_time_limit": job.download_time_limit,
        "execution_time_limit": job.execution_time_limit,
        "streaming_start_time_limit": job.streaming_start_time_limit,
        "upload_time_limit": job.upload_time_limit,
        "streaming_client_cert": job.streaming_details.public_key if job.streaming_details else "",
        "streaming_server_cert": streaming.get("streaming_server_cert") or "",
        "streaming_server_address": streaming.get("streaming_server_address") or "",
        "streaming_server_port": streaming.get("streaming_server_port") or 0,
        "status_history": [entry.as_json() for entry in history],
    }
