"""Receipts verified and stored a second, against the verification of their signatures alone.

    python -m tests.bench receipts

Both use the same cores and take turns: signatures alone in one loop, then the validator's own path with its
checking process, parsing, and writes to SQLite.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from horde_agents.agents.validator.receipt_checker import Checked, Checker, Question, checked, checking
from horde_agents.protocol.signing import KeypairSigner, from_hex, verify
from horde_agents.receipts.payloads import signed_text
from horde_agents.runtime.clock import now
from horde_agents.store import page_cursors, receipts
from horde_agents.store.engine import Store, open_store
from tests.bench.figures import Figure
from tests.fixtures.receipt_lines import accepted, finished, line, started

_ROUNDS: Final = 5
_JOBS: Final = 700
_AT_ONCE: Final = 256
_STORE_AT_ONCE: Final = 512
_MINER: Final = KeypairSigner.from_uri("//BenchMiner")
_VALIDATOR: Final = KeypairSigner.from_uri("//BenchValidator")


def receipt_figures() -> list[Figure]:
    """The ratio of both ways, the best of the rounds each."""
    alone, whole = 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="horde-bench-") as folder:
        for _ in range(_ROUNDS):
            lines = _lines()
            alone = max(alone, _verified_alone(lines))
            whole = max(whole, asyncio.run(_verified_and_stored(lines, f"sqlite:///{folder}/bench.sqlite3")))
    detail = f"{whole:.0f}/s verified and stored, {alone:.0f}/s signatures alone (two each)"
    name = "receipts verified and stored / signatures alone"
    return [Figure(name, whole / alone, 0.5, "x", at_most=False, detail=detail)]


def _lines() -> list[bytes]:
    jobs = [started(_MINER, _VALIDATOR) for _ in range(_JOBS)]
    return [
        line(each, _MINER, _VALIDATOR).rstrip()
        for job in jobs
        for each in (job, accepted(job), finished(job))
    ]


def _verified_alone(lines: Sequence[bytes]) -> float:
    question = Question(_MINER.hotkey, frozenset(), lines)
    found = checked(question, now()).receipts
    texts = [
        (signed_text(each.payload), each.validator_signature, each.miner_signature or "") for each in found
    ]
    start_s = perf_counter()
    for text, by_validator, by_miner in texts:
        assert verify(_VALIDATOR.hotkey, text, from_hex(by_validator))
        assert verify(_MINER.hotkey, text, from_hex(by_miner))
    return len(texts) / (perf_counter() - start_s)


async def _verified_and_stored(lines: Sequence[bytes], url: str) -> float:
    async with open_store(url) as store, checking() as checker:
        await checker.check(Question(_MINER.hotkey, frozenset(), lines[:1]), now())  # starts the process
        parts = [lines[at : at + _STORE_AT_ONCE] for at in range(0, len(lines), _STORE_AT_ONCE)]
        start_s = perf_counter()
        async with asyncio.TaskGroup() as group:  # as many peers, read at one time
            for number, part in enumerate(parts):
                group.create_task(_page_part(store, checker, part, number))
        return len(lines) / (perf_counter() - start_s)


async def _page_part(store: Store, checker: Checker, lines: Sequence[bytes], page: int) -> None:
    found: list[Checked] = []
    for at in range(0, len(lines), _AT_ONCE):
        question = Question(_MINER.hotkey, frozenset(), lines[at : at + _AT_ONCE])
        found.append(await checker.check(question, now()))
    assert sum(len(each.receipts) for each in found) == len(lines)

    async def unit(connection: AsyncConnection) -> None:
        for each in found:
            await receipts.import_all(connection, each.receipts, now(), each.texts)
        await page_cursors.move(connection, _MINER.hotkey, page, 1, now())

    await store.writer.run(unit)
