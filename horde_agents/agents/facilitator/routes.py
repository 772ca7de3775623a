"""The REST paths of users (wire notes A), each a few lines over the rooms that do the work."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from horde_agents.agents.facilitator.bodies import read_body
from horde_agents.agents.facilitator.book import JobBook
from horde_agents.agents.facilitator.cancelling import cancel
from horde_agents.agents.facilitator.event_stream import stream
from horde_agents.agents.facilitator.links import Links
from horde_agents.agents.facilitator.logins import Logins
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.submissions import Submissions
from horde_agents.protocol.facilitator_validator import V0JobCheated, WireSignature
from horde_agents.protocol.frames import render, write_json
from horde_agents.protocol.rest_api import Refused
from horde_agents.protocol.signed_fields import (
    Scope,
    Signature,
    SignatureWrong,
    check_freshness,
    full_request_payload,
    read_headers,
    verify_payload,
)
from horde_agents.runtime import clock
from horde_agents.store import jobs, reports
from horde_agents.store.jobs import StoredJob

_PAGE_SIZE: Final = 10
_MAX_PAGE_SIZE: Final = 256


class CheatReport(BaseModel):
    job_uuid: UUID
    trusted_job_uuid: UUID
    details: Any = None


class Feedback(BaseModel):
    result_correctness: float = Field(ge=0, le=1)
    expected_duration: float | None = Field(default=None, ge=0, allow_inf_nan=False)


@dataclass(slots=True)
class Routes:
    """The handlers."""

    parts: FacilitatorParts
    logins: Logins
    submissions: Submissions
    book: JobBook
    links: Links

    def table(self) -> list[web.RouteDef]:
        """Path by path; no redirects, so every stock path stands exactly."""
        return [
            web.get("/auth/nonce", self.nonce),
            web.post("/auth/login", self.login),
            web.post("/api/v1/job-docker/", self.create),
            web.post("/api/v1/horde/job-docker/", self.create_whole),
            web.get("/api/v1/jobs/", self.page),
            web.get("/api/v1/jobs/{uuid}/", self.show),
            web.delete("/api/v1/jobs/{uuid}/", self.cancel),
            web.get("/api/v1/jobs/{uuid}/events", self.events),
            web.post("/api/v1/cheated-job/", self.report),
            web.put("/api/v1/jobs/{uuid}/feedback/", self.give_feedback),
            web.post("/api/v1/jobs/{uuid}/feedback/", self.give_feedback),
            web.get("/api/v1/jobs/{uuid}/feedback/", self.show_feedback),
        ]

    async def nonce(self, _request: web.Request) -> web.Response:
        return web.json_response({"nonce": self.logins.nonce()})

    async def login(self, request: web.Request) -> web.Response:
        body, _ = await self._object(request)
        return web.json_response({"token": await self.logins.login(body)})

    async def create(self, request: web.Request) -> web.Response:
        return await self._create(request, Scope.SIGNED_FIELDS)

    async def create_whole(self, request: web.Request) -> web.Response:
        return await self._create(request, Scope.FULL_REQUEST)

    async def _create(self, request: web.Request, scope: Scope) -> web.Response:
        with self.parts.metrics.submit_s.time():
            owner = await self._who(request)
            body, text = await self._object(request)
            done = await self.submissions.submit(owner, body, text, _signature(request), scope)
            if done.is_new:
                shown = self.book.shown_new(done.job, body, done.request)
            else:
                shown = await self._shown(done.job)
            return web.json_response(shown, status=201, dumps=write_json)

    async def page(self, request: web.Request) -> web.Response:
        owner = await self._who(request)
        number = _number(request.query, "page", 1, 1_000_000_000)
        size = _number(request.query, "page_size", _PAGE_SIZE, _MAX_PAGE_SIZE)
        async with self.parts.store.reading() as connection:
            count, found = await jobs.page(
                connection,
                owner,
                offset=(number - 1) * size,
                limit=size,
                tag=request.query.get("tag"),
                uuids=request.query.getall("uuid", []),
            )
            if not found and number > 1:
                raise Refused("page.invalid", "Invalid page.")
            results = [await self.book.shown(connection, job) for job in found]
        last = number * size >= count
        return web.json_response(
            {
                "count": count,
                "next": None if last else str(request.url.update_query(page=number + 1)),
                "previous": None if number == 1 else str(request.url.update_query(page=number - 1)),
                "results": results,
            },
            dumps=write_json,
        )

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(await self._shown(await self._job(request)), dumps=write_json)

    async def cancel(self, request: web.Request) -> web.Response:
        job = await self._job(request)
        await cancel(job, self.book, self.links)
        async with self.parts.store.reading() as connection:
            kept = await jobs.load(connection, job.uuid)
        return web.json_response(await self._shown(kept or job), dumps=write_json)

    async def events(self, request: web.Request) -> web.StreamResponse:
        return await stream(request, self.book, await self._job(request))

    async def report(self, request: web.Request) -> web.Response:
        owner = await self._who(request)
        body, _ = await self._object(request)
        signature = self._signed_whole(request, owner, body)
        try:
            wanted = CheatReport.model_validate(body)
        except ValidationError as error:
            raise Refused("job.invalid", f"The report is malformed: {error.errors()[0]['msg']}") from error
        job = await self._reported(str(wanted.job_uuid), owner, on_trusted_miner=False, name="Job")
        await self._reported(str(wanted.trusted_job_uuid), owner, on_trusted_miner=True, name="Trusted job")
        await self._store_report(wanted, signature)
        await self._tell_validator(job, wanted, signature)
        return web.json_response({"message": "Job reported as cheated"}, status=201)

    async def give_feedback(self, request: web.Request) -> web.Response:
        job = await self._job(request)
        body, _ = await self._object(request)
        self._signed_whole(request, job.owner_hotkey, body)
        try:
            given = Feedback.model_validate(body)
        except ValidationError as error:
            raise Refused("job.invalid", f"The feedback is malformed: {error.errors()[0]['msg']}") from error
        at = clock.now()
        is_new = await self.parts.store.writer.run(
            lambda c: reports.add_feedback(c, job.uuid, given.result_correctness, given.expected_duration, at)
        )
        if not is_new:
            raise Refused("feedback.exists", "Feedback already exists")
        return web.json_response(given.model_dump(), status=201)

    async def show_feedback(self, request: web.Request) -> web.Response:
        job = await self._job(request)
        async with self.parts.store.reading() as connection:
            found = await reports.load_feedback(connection, job.uuid)
        if found is None:
            raise Refused("job.not_found", "This job has no feedback.")
        return web.json_response(found)

    async def _who(self, request: web.Request) -> str:
        return await self.logins.who(request.headers.get("Authorization"))

    async def _object(self, request: web.Request) -> tuple[dict[str, Any], str]:
        settings = self.parts.settings
        return await read_body(request, settings.body_s, settings.max_body_bytes)

    async def _job(self, request: web.Request) -> StoredJob:
        owner = await self._who(request)
        job = await self.book.read(request.match_info["uuid"], owner)
        if job is None:
            raise Refused("job.not_found", "Job not found")
        return job

    async def _shown(self, job: StoredJob) -> dict[str, Any]:
        async with self.parts.store.reading() as connection:
            return await self.book.shown(connection, job)

    def _signed_whole(self, request: web.Request, owner: str, body: dict[str, Any]) -> Signature:
        """A signature over the whole body, or over the fields of it that stock signs for feedback."""
        signature = _signature(request)
        settings = self.parts.settings
        now_ns = int(clock.now().timestamp() * 1e9)
        try:
            check_freshness(signature, now_ns, settings.signature_back_s, settings.signature_ahead_s)
        except SignatureWrong as error:
            raise Refused(error.code, str(error)) from error
        if signature.signatory != owner:
            raise Refused("signature.wrong_signatory", "The request is signed by another hotkey.")
        if signature.scope is not Scope.FULL_REQUEST or not verify_payload(
            signature, full_request_payload(body)
        ):
            raise Refused(
                "signature.invalid", "Invalid signature provided", "Sign the body in scope FullRequest."
            )
        return signature

    async def _reported(self, uuid: str, owner: str, *, on_trusted_miner: bool, name: str) -> StoredJob:
        job = await self.book.read(uuid, owner)
        if job is None or bool(json.loads(job.request_json).get("on_trusted_miner")) is not on_trusted_miner:
            raise Refused("job.not_found", f"{name} not found")
        return job

    async def _store_report(self, wanted: CheatReport, signature: Signature) -> None:
        at = clock.now()
        is_new = await self.parts.store.writer.run(
            lambda c: reports.add_cheat_report(
                c, str(wanted.job_uuid), str(wanted.trusted_job_uuid), wanted.details, signature.as_wire(), at
            )
        )
        if not is_new:
            raise Refused("report.exists", "Cheat report already exists for this job")

    async def _tell_validator(self, job: StoredJob, wanted: CheatReport, signature: Signature) -> None:
        frame = V0JobCheated(
            job_uuid=str(wanted.job_uuid),
            trusted_job_uuid=str(wanted.trusted_job_uuid),
            details=wanted.details,
            signature=WireSignature.model_validate(signature.as_wire()),
        )
        link = self.links.of(job.validator_hotkey)
        if link is not None:
            await link.send(render(frame))


def _signature(request: web.Request) -> Signature:
    try:
        return read_headers(request.headers)
    except SignatureWrong as error:
        known = {
            "signature.missing": "Signature not found",
            "signature.malformed": "Invalid signature provided",
        }
        raise Refused(error.code, known.get(error.code, str(error)), str(error)) from error


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refused("page.invalid", "Invalid page.")
    return min(int(text), most)
