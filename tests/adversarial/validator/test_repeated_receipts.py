"""Receipts that are repeated without end."""

import tracemalloc

from horde_agents.agents.validator.others_jobs import OthersJobs
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.payloads import JobStarted
from tests.fixtures.receipt_lines import accepted, started

MINER, ACCOMPLICE = KeypairSigner.from_uri("//Miner"), KeypairSigner.from_uri("//Accomplice")
MONTH_S = 30 * 24 * 3600


def _growth(jobs: OthersJobs, of: JobStarted, times: int) -> int:
    """Bytes kept after two receipts were repeated so often."""
    pair = [Receipt(of, "0x1", "0x2"), Receipt(accepted(of, ttl=MONTH_S), "0x1", "0x2")]
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(times):
        jobs.note(pair)
    return tracemalloc.get_traced_memory()[0] - before


def test_repeated_receipts_of_a_month_take_no_memory() -> None:
    """Both signed once, for as long as the wire allows; each page of the miner repeats them."""
    jobs, of = OthersJobs(), started(MINER, ACCOMPLICE)
    tracemalloc.start()
    try:
        once, often = _growth(jobs, of, 1), _growth(jobs, of, 2000)
    finally:
        tracemalloc.stop()
    assert often < 10 * once
