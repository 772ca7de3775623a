"""Checks receipts in a process of its own: sr25519 holds the interpreter for a tenth of a millisecond a
signature, and a thread that verifies thousands would delay every frame of this agent by 5 ms a time.

One JSON line asks about the lines of a page, one answers. The process ends when its standard input does,
so that a validator that is killed leaves none behind.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from horde_agents.protocol.signing import from_hex, verify
from horde_agents.receipts.ledger import ProgressReceipt, Receipt
from horde_agents.receipts.page_lines import LineRefused, Reader
from horde_agents.receipts.payloads import read_payload, read_progress

#: Bytes of one answer at most: those of a page's fetch, with room for escapes.
_ANSWER_BYTES: Final = 32 * 1024 * 1024
#: Seconds one question may take.
_ANSWER_S: Final = 60.0


class CheckerLost(Exception):
    """The process ended in the middle of a question; nothing was checked."""


@dataclass(frozen=True, slots=True)
class Question:
    """Lines of one page, and whose page it is; ``known`` as in ``Reader``."""

    peer_hotkey: str
    known: frozenset[str]
    lines: Sequence[bytes]
    is_progress: bool = False
    is_validator: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What is believed, in the page's order, with its canonical ``texts``; and what is not, by reason."""

    receipts: Sequence[Receipt] = ()
    progress: Sequence[ProgressReceipt] = ()
    texts: Sequence[str] = ()
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Checker:
    """The process, started when it is first needed and again when it was lost; one question at a time."""

    _process: asyncio.subprocess.Process | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def check(self, question: Question, now: datetime) -> Checked:
        """Check one page's lines.

        Raises:
            CheckerLost: the process ended, or took too long; the next question gets a new one.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return _read_answer(await self._ask(_asked(question, now)))
            except (TimeoutError, OSError, ValueError) as error:
                await self.close()
                raise CheckerLost(f"the process that checks receipts was lost: {error!r}") from error
            except BaseException:
                await self.close()  # its answer to a question that nobody awaits must not be the next one's
                raise

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, text: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                limit=_ANSWER_BYTES,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        await process.stdin.drain()
        answer = await process.stdout.readline()
        if not answer.endswith(b"\n"):
            raise ValueError("no answer")
        return answer


@asynccontextmanager
async def checking() -> AsyncIterator[Checker]:
    """A checker whose process ends with the block."""
    checker = Checker()
    try:
        yield checker
    finally:
        await checker.close()


def checked(question: Question, now: datetime) -> Checked:
    """The work itself, in this process."""
    reader = Reader(question.peer_hotkey, question.known, _verify, question.is_validator)
    refused: Counter[str] = Counter()
    if question.is_progress:
        proofs, texts = _each(reader.progress, question.lines, now, refused)
        return Checked(progress=proofs, texts=texts, refused=refused)
    found, texts = _each(reader.receipt, question.lines, now, refused)
    return Checked(found, texts=texts, refused=refused)


def _each(
    read: Callable[[bytes, datetime], Any], lines: Sequence[bytes], now: datetime, refused: Counter[str]
) -> tuple[list[Any], list[str]]:
    believed, texts = [], []
    for line in lines:
        try:
            receipt, text = read(line, now)
        except LineRefused as error:
            refused[str(error)] += 1
            continue
        believed.append(receipt)
        texts.append(text.decode())
    return believed, texts


def _verify(hotkey: str, text: bytes, signature: str) -> bool:
    return verify(hotkey, text, from_hex(signature))


def _asked(question: Question, now: datetime) -> bytes:
    value = {
        "peer": question.peer_hotkey,
        "known": sorted(question.known),
        "lines": [line.decode(errors="replace") for line in question.lines],
        "progress": question.is_progress,
        "validator": question.is_validator,
        "now": now.isoformat(),
    }
    return json.dumps(value).encode() + b"\n"


def _answered(text: bytes) -> bytes:
    value = json.loads(text)
    question = Question(
        value["peer"],
        frozenset(value["known"]),
        [line.encode() for line in value["lines"]],
        value["progress"],
        value["validator"],
    )
    found = checked(question, datetime.fromisoformat(value["now"]))
    believed: list[Receipt | ProgressReceipt] = [*found.receipts, *found.progress]
    signed = zip(believed, found.texts, strict=True)
    rows = [[text, it.validator_signature, it.miner_signature] for it, text in signed]
    answer = {"rows": rows, "progress": question.is_progress, "refused": found.refused}
    return json.dumps(answer).encode() + b"\n"


def _read_answer(text: bytes) -> Checked:
    value = json.loads(text)
    refused, rows = Counter(value["refused"]), value["rows"]
    texts = [row[0] for row in rows]
    if value["progress"]:
        proofs = [ProgressReceipt(read_progress(json.loads(row[0])), row[1], row[2]) for row in rows]
        return Checked(progress=proofs, texts=texts, refused=refused)
    found = [Receipt(read_payload(json.loads(row[0])), row[1], row[2]) for row in rows]
    return Checked(found, texts=texts, refused=refused)


def main() -> None:
    """Answer until nobody asks any more; a Ctrl-C of the whole terminal is the validator's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_answered(line))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
