"""Puts a job's input volumes in place, one after another: later ones overwrite earlier ones."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from pathlib import Path

from horde_agents.agents.executor.outcome import job_fault
from horde_agents.agents.executor.web import Fetcher, FetchFailed, FetchRefused, guarded_session
from horde_agents.agents.executor.zip_guard import ZipRefused, unpack
from horde_agents.jobs.faults import Cause, JobFaultReason, Stage
from horde_agents.jobs.spec import FileVolume, HuggingFaceVolume, InlineVolume, Volume, ZipVolume


async def place_volumes(
    volumes: Sequence[Volume], folder: Path, limit_bytes: int, *, allow_private: bool
) -> None:
    """Download and unpack ``volumes`` below ``folder``, ``limit_bytes`` in all.

    Raises:
        StageFailed: a volume is refused or cannot be had; the job's own fault.
    """
    if not volumes:
        return
    async with guarded_session(allow_private=allow_private) as session:
        fetcher = Fetcher(session, allow_private=allow_private)
        for number, volume in enumerate(volumes, 1):
            try:
                limit_bytes -= await _place(volume, folder, limit_bytes, fetcher)
            except (ZipRefused, FetchRefused) as error:
                raise _refused(number, str(error)) from error
            except OSError as error:
                raise _refused(number, f"cannot be put in place: {error.strerror or error}") from error
            except FetchFailed as error:
                message = f"Volume {number}: {error}"
                raise job_fault(
                    JobFaultReason.DOWNLOAD_FAILED, Stage.VOLUME_DOWNLOAD, message, Cause.VOLUME_UNREACHABLE
                ) from error


async def _place(volume: Volume, folder: Path, limit_bytes: int, fetcher: Fetcher) -> int:
    match volume:
        case InlineVolume():
            return await _unpacked(
                lambda path: _decode(volume.contents, path), volume.relative_path, folder, limit_bytes
            )
        case ZipVolume():
            archive = _scratch(folder)
            await fetcher.fetch(volume.url, archive, limit_bytes)
            return await _unpacked(None, volume.relative_path, folder, limit_bytes)
        case FileVolume():
            return await fetcher.fetch(volume.url, _inside(folder, volume.relative_path), limit_bytes)
        case HuggingFaceVolume():
            raise FetchRefused("Hugging Face volumes are not supported by this executor")


async def _unpacked(
    fill: Callable[[Path], None] | None, relative_path: str, folder: Path, limit_bytes: int
) -> int:
    archive = _scratch(folder)
    try:
        if fill:
            await asyncio.to_thread(fill, archive)
        target = _inside(folder, relative_path) if relative_path else folder
        return await asyncio.to_thread(unpack, archive, target, limit_bytes)
    finally:
        archive.unlink(missing_ok=True)


def _decode(contents: str, path: Path) -> None:
    try:
        path.write_bytes(base64.b64decode(contents, validate=True))
    except ValueError as error:
        raise ZipRefused(f"inline contents are not base64: {error}") from error


def _scratch(folder: Path) -> Path:
    """Beside the volume, so that the job never sees the archive."""
    return folder.with_name("volume.zip")


def _inside(folder: Path, relative_path: str) -> Path:
    """``relative_path`` is canonical by the protocol room; no link may lead it outside."""
    target = folder / relative_path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ZipRefused(f"{relative_path!r} leads out of the volume")
    return target


def _refused(number: int, why: str) -> Exception:
    return job_fault(
        JobFaultReason.DOWNLOAD_FAILED, Stage.VOLUME_DOWNLOAD, f"Volume {number}: {why}", Cause.VOLUME_REFUSED
    )
