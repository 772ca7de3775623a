"""Archives are unpacked within their bounds or not at all."""

import contextlib
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horde_agents.agents.executor.zip_guard import ZipRefused, unpack
from tests.fixtures.executor import zipped


def saved(folder: Path, content: bytes) -> Path:
    """``content`` as a file."""
    path = folder / "archive.zip"
    path.write_bytes(content)
    return path


def test_files_and_folders_arrive_with_their_execute_bit(tmp_path: Path) -> None:
    def executable(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = (0o100755 if entry.filename == "run" else 0o100644) << 16

    archive = saved(tmp_path, zipped({"run": b"#!", "d/plain": b"x", "d/e/": b""}, executable))
    assert unpack(archive, tmp_path / "to", 100) == 3
    assert (tmp_path / "to/run").stat().st_mode & 0o100
    assert not (tmp_path / "to/d/plain").stat().st_mode & 0o111
    assert (tmp_path / "to/d/e").is_dir()


def test_the_bound_is_on_all_files_together(tmp_path: Path) -> None:
    archive = saved(tmp_path, zipped({str(number): bytes(10) for number in range(10)}))
    assert unpack(archive, tmp_path / "to", 100) == 100
    with pytest.raises(ZipRefused, match="more than the space"):
        unpack(archive, tmp_path / "again", 99)


def test_a_table_of_contents_that_would_fill_memory_is_not_read(tmp_path: Path) -> None:
    content = bytearray(zipped({"x": b"x"}))
    end = content.rindex(b"PK\x05\x06")
    content[end + 12 : end + 16] = (17 * 1024 * 1024).to_bytes(4, "little")
    with pytest.raises(ZipRefused, match="table of contents"):
        unpack(saved(tmp_path, bytes(content)), tmp_path / "to", 100)


PACKED = [
    zipped({"a": bytes(range(256)) * 40, "d/b": b"x" * 5_000}, compression=kind)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
]


@settings(max_examples=400, deadline=None)
@given(
    archive=st.sampled_from(PACKED),
    spoilt=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_a_damaged_archive_is_unpacked_or_refused_and_nothing_else(
    archive: bytes, spoilt: list[tuple[float, int]]
) -> None:
    content = bytearray(archive)
    for place, byte in spoilt:
        content[int(place * len(content))] = byte
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ZipRefused):
        assert unpack(saved(Path(folder), bytes(content)), Path(folder) / "to", 1_000_000) >= 0


@pytest.mark.parametrize("packed", PACKED[1:], ids=["deflate", "bzip2", "lzma"])
def test_packed_bytes_that_were_spoilt_are_the_archives_fault(tmp_path: Path, packed: bytes) -> None:
    content = bytearray(packed)
    content[45:60] = b"\xff" * 15  # behind the first entry's header
    with pytest.raises(ZipRefused, match="cannot be unpacked"):
        unpack(saved(tmp_path, bytes(content)), tmp_path / "to", 1_000_000)
