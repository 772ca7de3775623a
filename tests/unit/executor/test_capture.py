"""Output is kept at both ends, whatever comes in whatever pieces."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.executor.capture import KEPT, Capture, Stream


@given(st.lists(st.binary(max_size=50), max_size=30))
def test_short_output_is_kept_whole(chunks: list[bytes]) -> None:
    stream = Stream()
    for chunk in chunks:
        stream.take(chunk)
    assert stream.text() == b"".join(chunks).decode(errors="replace")


@given(st.lists(st.integers(min_value=1, max_value=400_000), max_size=12))
def test_long_output_is_its_first_and_last_half_million(sizes: list[int]) -> None:
    stream, whole = Stream(), b""
    for number, size in enumerate(sizes):
        chunk = bytes([97 + number]) * size
        stream.take(chunk)
        whole += chunk
    text = whole.decode()
    expected = text if len(text) <= 2 * KEPT else f"{text[:KEPT]} ... {text[-KEPT:]}"
    assert stream.text() == expected


def test_the_file_holds_all_up_to_its_bound(tmp_path: Path) -> None:
    capture = Capture.into(tmp_path, 10)
    for _ in range(4):
        capture.take(b"abcd", b"e")
    capture.close()
    assert (tmp_path / "stdout.txt").read_bytes() == b"abcdabcdab"
    assert (tmp_path / "stderr.txt").read_bytes() == b"eeee"
    assert capture.total_bytes == 20
