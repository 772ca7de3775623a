"""Sends what a job left in /output where its owner asked; all together, cancelled together."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from horde_agents.agents.executor.outcome import StageFailed, job_fault
from horde_agents.agents.executor.outputs import OutputFile, OutputRefused, opened, zip_output
from horde_agents.agents.executor.web import TRIES, FetchRefused, check_url, guarded_session, parsed
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import FilePost, FilePut, JobSpec, Upload, ZipPost, ZipPut

_UPLOAD_S: Final = 300.0
_ANSWER_BYTES: Final = 10 * 1024 * 1024
#: The answers of all receivers together, as JSON text: a report has to fit into a frame.
_ANSWERS_CHARACTERS: Final = 10 * 1024 * 1024
_ZIP_NAME: Final = "output.zip"
_PAUSE_S: Final = 1.0


async def upload_outputs(spec: JobSpec, folder: Path, *, allow_private: bool) -> dict[str, str]:
    """Perform a job's uploads; every file is opened before the first request.

    Returns relative path (or ``output.zip``, ``system_output``) → JSON text of headers and body.

    Raises:
        StageFailed: a file is missing, or a receiver refuses; the job's own fault.
    """
    wanted = _wanted(spec)
    if not wanted:
        return {}
    try:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(guarded_session(allow_private=allow_private))
            if any(isinstance(upload, ZipPost | ZipPut) for _, upload in wanted):
                await asyncio.to_thread(zip_output, folder, folder.with_name(_ZIP_NAME))
            files = [stack.enter_context(_source(upload, folder)) for _, upload in wanted]
            sends = [
                _sending(session, upload, file, allow_private=allow_private)
                for (_, upload), file in zip(wanted, files, strict=True)
            ]
            answers = await _together(sends)
    except OutputRefused as error:
        raise _failed(str(error), Cause.OUTPUT_MISSING) from error
    if sum(map(len, answers)) > _ANSWERS_CHARACTERS:
        raise _failed("answers: all together do not fit into a report", Cause.UPLOAD_REFUSED)
    return {key: answer for (key, _), answer in zip(wanted, answers, strict=True)}


def _wanted(spec: JobSpec) -> Sequence[tuple[str, Upload]]:
    named = [(_key(upload), upload) for upload in spec.uploads]
    return [*named, ("system_output", spec.system_output)] if spec.system_output else named


def _key(upload: Upload) -> str:
    return upload.relative_path if isinstance(upload, FilePost | FilePut) else _ZIP_NAME


def _source(upload: Upload, folder: Path) -> Any:  # noqa: ANN401  (a context manager of OutputFile)
    if isinstance(upload, FilePost | FilePut):
        return opened(folder, upload.relative_path)
    return opened(folder.parent, _ZIP_NAME)


async def _together(sends: Sequence[Callable[[], Any]]) -> list[str]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send()) for send in sends]
    except* StageFailed as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _sending(
    session: aiohttp.ClientSession, upload: Upload, file: OutputFile, *, allow_private: bool
) -> Callable[[], Any]:
    async def send() -> str:
        last = "no answer"
        for number in range(TRIES):
            await asyncio.sleep(_PAUSE_S * number)
            try:
                async with asyncio.timeout(_UPLOAD_S):
                    check_url(parsed(upload.url), allow_private=allow_private)
                    return await _send_once(session, upload, file)
            except FetchRefused as error:
                raise _failed(f"{_key(upload)}: {error}", Cause.UPLOAD_REFUSED) from error
            except _Refusal as error:
                last = str(error)
                if not error.may_pass:
                    break
            except ValueError as error:  # a header or field that HTTP cannot carry
                raise _failed(f"{_key(upload)}: {error!s:.300}", Cause.UPLOAD_REFUSED) from error
            except (aiohttp.ClientError, OSError) as error:
                last = str(error) or repr(error)
        raise _failed(f"{_key(upload)}: {last:.300}", Cause.UPLOAD_REFUSED)

    return send


class _Refusal(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the receiver answered {status}")
        self.may_pass = status in {408, 429} or status >= 500


async def _send_once(session: aiohttp.ClientSession, upload: Upload, file: OutputFile) -> str:
    file.stream.seek(0)
    async with _request(session, upload, file) as reply:
        if not 200 <= reply.status < 300:
            raise _Refusal(reply.status)
        body = bytearray()
        async for chunk in reply.content.iter_any():
            body += chunk
            if len(body) > _ANSWER_BYTES:
                raise _failed(f"{_key(upload)}: the receiver's answer is over 10 MiB", Cause.UPLOAD_REFUSED)
        return json.dumps({"headers": dict(reply.headers), "body": body.decode(errors="replace")})


def _request(session: aiohttp.ClientSession, upload: Upload, file: OutputFile) -> Any:  # noqa: ANN401
    headers = CIMultiDict(upload.signed_headers if isinstance(upload, FilePost | FilePut) else {})
    match upload:
        case FilePut() | ZipPut():
            headers["Content-Length"] = str(file.size_bytes)
            return session.put(
                URL(upload.url, encoded=True), data=_Kept(file), headers=headers, allow_redirects=False
            )
        case FilePost() | ZipPost():
            form = aiohttp.FormData()
            for name, value in upload.form_fields.items():
                form.add_field(name, value)
            name = file.relative_path.rsplit("/", 1)[-1]
            form.add_field("file", _Kept(file), filename=name, content_type="application/octet-stream")
            return session.post(
                URL(upload.url, encoded=True), data=form, headers=headers, allow_redirects=False
            )


class _Kept(aiohttp.payload.Payload):
    """A file as a request body that a retry can send again; as long as it was when it was opened."""

    def __init__(self, file: OutputFile, *_: object, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(file, content_type="application/octet-stream", **{"headers": None} | kwargs)
        self._file = file
        self._size = file.size_bytes

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("an output file is not text")

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        left = self._file.size_bytes
        while left > 0 and (chunk := self._file.stream.read(min(left, 256 * 1024))):
            left -= len(chunk)
            await writer.write(chunk)
        if left:
            raise aiohttp.ClientPayloadError("the file became shorter while it was sent")


def _failed(message: str, cause: Cause) -> StageFailed:
    return job_fault(JobFaultReason.UPLOAD_FAILED, Stage.RESULT_UPLOAD, f"Upload {message}", cause)
