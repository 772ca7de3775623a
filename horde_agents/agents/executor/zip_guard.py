"""Unpacks a zip from a stranger: nothing outside its folder, no links, no more bytes than allowed."""

import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

MAX_FILES: Final = 20_000
#: The archive's own table of contents, which is read whole into memory.
_MAX_TABLE_BYTES: Final = 16 * 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024


#: What ``zipfile`` lets through when an archive is not what it says: a damaged input is its owner's fault.
_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    EOFError,
    OSError,
    ValueError,
)


class ZipRefused(Exception):
    """The archive is damaged, hostile or too large; the text names the entry."""


def unpack(archive: Path, folder: Path, limit_bytes: int) -> int:
    """Unpack ``archive`` below ``folder`` and return the bytes written.

    Sizes are counted while unpacking: what the archive claims of itself is not believed.

    Raises:
        ZipRefused: no zip, an entry that climbs out, a link or device, encrypted, or over a bound.
    """
    written = 0
    try:
        _check_table(archive)
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) > MAX_FILES:
                raise ZipRefused(f"the zip has {len(entries)} entries; {MAX_FILES} is the most")
            for entry in entries:
                target = _target(entry, folder)
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    written += _copy(opened, entry, target, limit_bytes - written)
    except _DAMAGED as error:
        raise ZipRefused(f"the zip cannot be unpacked: {error}") from error
    return written


def _check_table(archive: Path) -> None:
    with archive.open("rb") as file:
        # what ZipFile itself goes by; a parser of our own could be told another story by the same bytes
        record = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if record and record[zipfile._ECD_SIZE] > _MAX_TABLE_BYTES:  # type: ignore[attr-defined]
        raise ZipRefused(f"the zip's table of contents is over {_MAX_TABLE_BYTES} bytes")


def _target(entry: zipfile.ZipInfo, folder: Path) -> Path:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or "\0" in entry.filename:
        raise ZipRefused(f"entry {entry.filename!r:.120} climbs out of its folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ZipRefused(f"entry {entry.filename!r:.120} is no plain file or folder")
    if entry.flag_bits & 0x1:
        raise ZipRefused(f"entry {entry.filename!r:.120} is encrypted")
    return folder / path


def _copy(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit_bytes: int) -> int:
    written = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise ZipRefused(f"entry {entry.filename!r:.120} unpacks to more than the space allowed")
            sink.write(chunk)
    if entry.external_attr >> 16 & 0o100:
        target.chmod(0o755)
    return written
